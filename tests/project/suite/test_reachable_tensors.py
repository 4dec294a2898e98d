"""A weight that a layer still keeps is found, wherever it hides."""

import torch


def test_every_tensor_that_is_held_is_found_with_its_storage(student_of):
    student = student_of(
        """
        import torch
        from torch import nn
        import numpy
        class Layer(nn.Identity):
            memory = torch.zeros(60)
        def build():
            hidden = torch.zeros(1000)
            layer = Layer()
            layer.array = numpy.zeros(50, dtype=numpy.float32)
            layer.array_view = layer.array[:2]
            layer.register_buffer("codes", torch.zeros(10, dtype=torch.int8))
            layer.codes.more = torch.zeros(70)
            layer.list = [{"a": (torch.zeros(20),)}]
            layer.closure = lambda: hidden
            layer.view = torch.zeros(300)[:4]
            return layer
        """
    )
    held = {t.shape: t for t in student.build().held_tensors()}
    assert held[(50,)].dtype == torch.float32 and held[(60,)].where == "['memory']" and (70,) in held
    assert [held[shape].where for shape in ((1000,), (10,), (20,))] == ["closure[0]", "codes", "list[0]['a'][0]"]
    assert {(1000,), (10,), (20,), (4,)} <= set(held)
    assert held[(4,)].nbytes == 1200
