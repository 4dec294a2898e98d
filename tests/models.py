"""What suites ask of a quantized model, wherever its codes are kept."""

import math
import warnings
from collections import Counter
from collections.abc import Iterator
from typing import Any

import torch
from torch import Tensor, nn

from tests.messages import explain

INT8 = (torch.int8, torch.uint8, torch.qint8, torch.quint8)


def check_module(result: Any, called: str) -> Any:
    """result, once it is a handle on a module."""
    kind = getattr(result, "kind", type(result).__name__)
    assert getattr(result, "is_module", False), explain(called, kind, "an nn.Module")
    return result


def tensors(state: Any) -> Iterator[Tensor]:
    """All tensors of a state dict; PyTorch's own quantized layers keep theirs in tuples."""
    if isinstance(state, Tensor):
        yield state
    elif isinstance(state, dict | list | tuple):
        for value in state.values() if isinstance(state, dict) else state:
            yield from tensors(value)


def check_no_float_weight(layer: Any, model: nn.Module, called: str) -> None:
    """No float tensor of the size of a Linear's weight is left, registered or not, beside embeddings of that size."""
    linears = {m.weight.numel() for m in model.modules() if isinstance(m, nn.Linear)}
    others = Counter(m.weight.numel() for m in model.modules() if isinstance(m, nn.Embedding))
    registered = [(t.dtype, tuple(t.shape)) for t in tensors(layer.state_dict())]
    for where, found in (("in the state dict", registered), ("among its attributes", layer.held_tensors())):
        floats = Counter(math.prod(shape) for dtype, shape in found if dtype.is_floating_point)
        for dtype, shape in found:
            size = math.prod(shape)
            left = dtype.is_floating_point and size in linears and floats[size] > others[size]
            got = f"a {str(dtype).removeprefix('torch.')} tensor of shape {shape} {where}"
            assert not left, explain(called, got, "no float copy of a weight: int8 is meant to replace it")


def check_int8_weights(layer: Any, model: nn.Module, called: str) -> None:
    """The weight of every Linear is in the state dict, at one byte a number."""
    held = sum(t.numel() for t in tensors(layer.state_dict()) if t.dtype in INT8)
    unique = {id(m): m.weight.numel() for m in model.modules() if isinstance(m, nn.Linear)}
    expected = sum(unique.values())
    assert held >= expected, explain(
        f"{called}.state_dict()", f"{held:,} int8 values", f"{expected:,}: the weight of every Linear"
    )


def torch_dynamic(model: nn.Module, engine: str | None = None) -> nn.Module:
    """PyTorch's quantize_dynamic with one of its engines, whose setting is put back."""
    before = torch.backends.quantized.engine
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        try:
            torch.backends.quantized.engine = engine or before
            return torch.ao.quantization.quantize_dynamic(model, {nn.Linear}, dtype=torch.qint8)
        finally:
            torch.backends.quantized.engine = before
