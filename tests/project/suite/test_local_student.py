"""The line between a suite and a student's code: values cross, objects do not, and what was done to arguments shows."""

import pytest
import torch
from torch import nn

from grader.sandbox.sandboxed_student import SandboxedStudent
from grader.suite.load_exercise import LoadError
from grader.suite.local_student import LocalHandle
from grader.suite.student import Opaque, origin


def test_an_object_that_equals_everything_is_just_an_object(student_of):
    student = student_of(
        """
        import torch
        class Yes(torch.Tensor):
            __eq__ = __lt__ = __gt__ = __le__ = __ge__ = lambda *_: True
        class Number(float):
            __eq__ = __lt__ = lambda *_: True
        def tensor(): return torch.zeros(3).as_subclass(Yes)
        def number(): return Number(2)
        def thing(): return object()
        """
    )
    assert type(student.tensor()) is torch.Tensor and not torch.equal(student.tensor(), torch.ones(3))
    assert type(student.number()) is float and student.number() != 3
    assert isinstance(student.thing(), LocalHandle) and not student.thing().is_module


def test_what_is_in_a_named_tuple_crosses_like_anything_else(student_of):
    student = student_of(
        """
        import torch
        from typing import NamedTuple
        class Yes(torch.Tensor):
            __eq__ = lambda *_: True
        class Pair(NamedTuple):
            q: object
            scales: object
        class Row(list):
            pass
        def pair(): return Pair(torch.zeros(3).as_subclass(Yes), Row([object()]))
        """
    )
    q, scales = student.pair()
    assert type(student.pair()) is tuple and type(q) is torch.Tensor
    assert type(scales) is list and isinstance(scales[0], LocalHandle)


def test_changed_arguments_and_modules_show(student_of):
    student = student_of(
        """
        def double(w): w.mul_(2)
        def freeze(model):
            model.eval()
            model.weight.data.zero_()
        """
    )
    w, model = torch.ones(2, 3), nn.Linear(2, 2)
    student.double(w)
    assert torch.equal(student.view(w), torch.full((2, 3), 2.0))
    assert torch.equal(w, torch.ones(2, 3))  # what the suite compares with is out of reach
    student.begin_test(1, 9.0)
    assert student.view(w) is w
    student.freeze(model)
    assert model.training and model.weight.any(), "the suite's own model is out of reach"
    assert not student.view(model).training and not student.view(model).weight.any()


def test_what_is_no_value_in_a_state_dict_is_named_and_no_more(student_of):
    student = student_of(
        """
        import torch
        from torch import nn
        class Notes: pass
        class Layer(nn.Linear):
            def get_extra_state(self): return Notes()
        def layer(): return Layer(2, 2)
        """
    )
    state = student.layer().state_dict()
    assert state["_extra_state"] == Opaque("Notes") and state["weight"].shape == (2, 2)


def test_strides_and_shared_memory_survive_the_crossing(student_of):
    student = student_of("def same(w): return w\ndef strides(w): return list(w.stride())")
    for w in (
        torch.arange(12.0).view(3, 4).t(),
        torch.arange(12.0)[::2],
        torch.ones(3, 1).expand(3, 4),
        torch.zeros(0),
    ):
        assert torch.equal(student.same(w), w)
        assert student.strides(w) == list(w.stride())


def test_an_error_knows_its_call_and_its_line(student_of):
    student = student_of("def f(w, bits=8):\n    return g(w)\ndef g(w):\n    return w.nothing")
    with pytest.raises(AttributeError) as caught:
        student.f(torch.zeros(2, 3), bits=4)
    came_from = origin(caught.value)
    assert came_from.call == "f(float32 (2, 3), bits=4)"
    assert came_from.line == 4 and [frame.line for frame in came_from.frames] == ["return w.nothing"]


def test_a_call_is_shown_in_words_and_a_path_by_its_end(student_of):
    student = student_of("def f(*arguments):\n    raise ValueError")
    for arguments, words in (
        (
            (["--checkpoint", "/tmp/kata-x1y2/none.safetensors", "--out", "new"],),
            "['--checkpoint', '.../kata-x1y2/none.",
        ),
        (((torch.ones(2), 8),), "f((float32 (2,), 8))"),
        (([*range(20)],), "f([0, 1, 2, 3, 4, 5, 6, 7, ...])"),
    ):
        with pytest.raises(ValueError) as caught:
            student.f(*arguments)
        assert words in origin(caught.value).call


def test_an_error_inside_an_earlier_exercise_is_traced_to_both(student_of, tmp_path):
    (tmp_path / "ex00_y.py").write_text("def h(w):\n    return w.nothing")
    student = student_of("from .ex00_y import h\ndef f(w):\n    return h(w)")
    with pytest.raises(AttributeError) as caught:
        student.f(torch.zeros(2))
    came_from = origin(caught.value)
    assert (came_from.file.name, came_from.line) == ("ex01_x.py", 3)
    assert [frame.line for frame in came_from.frames] == ["return h(w)", "return w.nothing"]


def test_a_function_that_is_not_there_is_not_started(student_of):
    student = student_of("x = 1")
    for ask in (lambda: student.f(1), lambda: student.run([])):
        with pytest.raises(LoadError, match="ex01_x.py has no function `(f|main)`") as error:
            ask()
        assert error.value.kind == "not started"


def test_of_two_functions_of_a_name_the_last_is_meant(student_of):
    local = student_of("def f():\n    return 1\n\n\ndef f():\n    return 2\n")
    remote = object.__new__(SandboxedStudent)
    remote.submission, remote._exercise = local.submission, "ex01_x"
    remote.last_call, remote._last_method = "f", ("", "")
    assert local.f() == 2 and local.location() == remote.location() and remote.location()[1] == 5


PLACES = """import functools
import torch
from torch import nn

@torch.no_grad()
def decorated(x):
    return x

@functools.cache
def cached():
    return 1

assigned = functools.partial(pow, 2)

class Layer(nn.Module):
    def __init__(self):
        super().__init__()

    def forward(self, x):
        return x

class Cache:
    def nbytes(self):
        return 3

def layer():
    class Inner(Layer):
        pass
    return Inner()
"""


def test_the_place_to_edit_is_in_the_submission_and_is_the_code_that_was_called(student_of, behind_walls):
    x = torch.ones(2)
    for student in (student_of(PLACES), behind_walls(PLACES)):

        def line(call, student=student):
            call()
            file, number = student.location()
            assert file.name == "ex01_x.py"
            return number

        assert line(lambda: student.decorated(x)) == 6  # noqa: B023
        assert line(lambda: student.cached()) == 10  # noqa: B023
        assert line(lambda: student.assigned(3)) == 13  # noqa: B023
        layer, cache, inner = student.Layer(), student.Cache(), student.layer()
        assert line(lambda: layer(x)) == 19  # noqa: B023
        assert line(lambda: cache.nbytes()) == 23  # noqa: B023
        assert line(lambda: inner(x)) == 27  # noqa: B023 (its forward is inherited: the class is the nearest place)


def test_calls_in_turn_show_shared_buffers_and_answers_that_know_an_argument(student_of, behind_walls):
    source = """
import torch
buffer, seen = torch.zeros(3), {}
def fresh(x): return x + 1
def shared(x): return torch.add(x, 1, out=buffer)
def known(x):
    if id(x) not in seen: seen[id(x)] = (x, x + 1)
    return seen[id(x)][1]
class Cache:
    def __init__(self): self.x = []
    def append(self, x): self.x.append(x)
    def read(self): return torch.cat(self.x)
class Layer(torch.nn.Linear):
    def forward(self, x): return x.sum() + self.weight.sum()
def total(model, x): return (model.weight.sum() + x.sum()).item()
"""
    a, b = torch.zeros(3), torch.ones(3)
    one, two = torch.nn.Linear(1, 1), torch.nn.Linear(1, 1)
    one.weight.data.fill_(1.0), two.weight.data.fill_(5.0)
    for student in (student_of(source), behind_walls(source)):

        def results(call, *calls, student=student, **options):
            return [r.tolist() if isinstance(r, torch.Tensor) else r for r in student.in_turn(call, *calls, **options)]

        for same in (False, True):
            assert results("fresh", (a,), (b,), same=same) == [[1, 1, 1], [2, 2, 2]]
        assert results("shared", (a,), (b,)) == [[2, 2, 2], [2, 2, 2]]
        assert results("known", (a,), (b,)) == [[1, 1, 1], [2, 2, 2]]
        assert results("known", (a,), (b,), same=True) == [[1, 1, 1], [1, 1, 1]]
        assert results("total", (one, a), (two, b), same=True) == [1, 8]
        cache = student.Cache()
        methods = ["append", "read", "append", "read"]
        assert results(cache, (a,), (), (b,), (), methods=methods)[1::2] == [[0, 0, 0], [0, 0, 0, 1, 1, 1]]
        assert not a.any() and b.all()
