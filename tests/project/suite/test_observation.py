"""How a test failed survives the way into a file and back, whatever came back from the learner's functions."""

import pickle

import pytest
import torch

from grader.suite.observation import Observation
from llm.model import GPTConfig
from tests.messages import fail


def observed(returned, got="code 3 of 8", inputs=None) -> Observation:
    with pytest.raises(AssertionError) as excinfo:
        fail("quantize(w)", got, "code 4 of 8", "Why?", ["quantize(v)"])
    return Observation.of(excinfo, returned, inputs)


def everything(student_of) -> list:
    """What a test may have got: values, handles, and an error, each with the function that it came from."""
    student = student_of(
        """
        import torch
        from torch import nn
        class Cache: pass
        def layer(): return nn.Linear(2, 2)
        def cache(): return Cache()
        def pair(): return torch.arange(3, dtype=torch.int8), 0.5
        def nested(): return {"a": [None, True, "text", b"bytes"], 1: (torch.bfloat16,)}
        def config(model): return model
        def trained(): return torch.ones(2, requires_grad=True) * 2
        def packed(): return torch.quantize_per_tensor(torch.ones(4), 0.1, 0, torch.qint8)
        def wrong(): raise KeyError("no")
        """
    )
    for name in ("layer", "cache", "pair", "nested", "trained", "packed"):
        getattr(student, name)()
    student.config(GPTConfig(n_layer=2))
    with pytest.raises(KeyError):
        student.wrong()
    return student.returned.values


def test_what_was_observed_is_read_as_it_was_written(student_of, tmp_path):
    before = observed(everything(student_of), inputs={"n": 3, "w": torch.ones(2), "widths": [8, 4]})
    before.write(tmp_path / "file")
    after = Observation.read(tmp_path / "file")
    assert after.is_like(before) and before.is_like(after)
    assert (after.kind, after.words) == ("WrongAnswer", ("quantize(w)", "code 3 of 8", "code 4 of 8", "quantize(v)"))
    assert after.site == before.site and any(file.endswith("test_observation.py") for file, _ in after.site)
    assert after.inputs["n"] == 3 and torch.equal(after.inputs["w"], torch.ones(2)) and after.inputs["widths"] == [8, 4]
    values = dict(after.values)
    assert (values["layer"], values["cache"], values["wrong"]) == ("a module", "an object", ("raised", "KeyError"))
    assert torch.equal(values["pair"][0], torch.arange(3, dtype=torch.int8)) and values["pair"][1] == 0.5
    assert values["nested"] == {"a": [None, True, "text", b"bytes"], "1": [torch.bfloat16]}
    assert values["config"]["n_layer"] == 2 and not values["trained"].requires_grad
    assert values["packed"] == ("a quantized tensor", "torch.qint8", (4,))


def test_another_failure_is_not_like_it(student_of):
    one, values = observed(everything(student_of)), everything(student_of)
    assert one.is_like(observed(values))
    assert not one.is_like(observed(values, got="code 5 of 8")) and not one.is_like(None)
    assert not one.is_like(observed(values[:-1])) and not one.is_like(observed([*values[:-1], ("wrong", ValueError)]))


def test_nothing_is_learned_from_tensors_without_elements():
    nothing, something = ("f", torch.ones(0)), ("f", torch.ones(1))
    assert observed([something, nothing]).is_about_nothing and observed([("f", [torch.ones(0, 3)])]).is_about_nothing
    assert not observed([nothing, something]).is_about_nothing and not observed([]).is_about_nothing


def test_a_file_is_data_and_is_not_obeyed(tmp_path):
    class Order:
        def __reduce__(self):
            return print, ("obeyed",)

    torch.save({"kind": Order()}, tmp_path / "file")
    with pytest.raises(pickle.UnpicklingError):
        Observation.read(tmp_path / "file")
