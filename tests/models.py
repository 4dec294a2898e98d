"""What suites ask of a quantized model, wherever its codes are kept."""

import io
from collections import Counter
from collections.abc import Iterator
from typing import Any

import torch
from torch import Tensor, nn

from tests import oracle
from tests.messages import fail

LEFT = "What still references the float weight: your layer, or another place in the model that uses the same Linear?"
INT8 = (torch.int8, torch.uint8, torch.qint8, torch.quint8)


def check_module(result: Any, called: str) -> Any:
    """result, once it is a handle on a module."""
    kind = getattr(result, "kind", type(result).__name__)
    if not getattr(result, "is_module", False):
        fail(called, kind, "an nn.Module")
    return result


def tensors(state: Any) -> Iterator[Tensor]:
    """All tensors of a state dict; PyTorch's own quantized layers keep theirs in tuples."""
    if isinstance(state, Tensor):
        yield state
    elif isinstance(state, dict | list | tuple):
        for value in state.values() if isinstance(state, dict) else state:
            yield from tensors(value)


def check_no_float_weight(layer: Any, model: nn.Module, called: str, anywhere: bool = True) -> None:
    """No float tensor as large as a Linear's weight is left in the state dict, beside what was no Linear's before.

    anywhere: nor among attributes, in closures, and wherever else the layer can reach
    """
    linears = {m.weight.data_ptr(): m.weight.numel() for m in model.modules() if isinstance(m, nn.Linear)}
    linears_by_name = {name: t.data_ptr() for name, t in model.state_dict().items() if t.data_ptr() in linears}
    others = {name: t.numel() for name, t in model.state_dict().items() if t.data_ptr() not in linears}
    registered = [
        (name, t.dtype, tuple(t.shape), t.numel()) for name, value in layer.state_dict().items() for t in tensors(value)
    ]
    past = [t.where for t in layer.held_tensors() if t.history] if anywhere else []
    if past:
        fail(
            called,
            f"`{past[0]}` records for gradients how it was computed, which keeps the float weight in memory",
            "tensors without such a record",
            "Which operations record what they did, and who needs gradients here?",
        )
    # a few rows of a float weight keep all of it in memory: what counts is the storage
    held = {t.storage: (t.where, t.dtype, t.shape, t.nbytes // t.dtype.itemsize) for t in layer.held_tensors()}
    for place, found in (("of the state dict ", registered), ("", held.values() if anywhere else [])):
        large = [t for t in found if t[1].is_floating_point and t[3] >= min(linears.values())]
        sizes, allowed = Counter(size for *_, size in large), Counter(others.values())
        for name, dtype, shape, size in large:
            other = next(
                (o for o in linears_by_name if o != name and linears_by_name[o] == linears_by_name.get(name)), ""
            )
            kind = f"a {str(dtype).removeprefix('torch.')} tensor of shape {shape}"
            if other:
                kind += f": its Linear is also called `{other.removesuffix('.weight')}`"
            if not (sizes[size] <= allowed[size] or name in others):
                fail(
                    called,
                    f"{f'`{name}`' if name else 'something in the layer'} {place}is {kind}",
                    "no float copy of a weight: codes are meant to replace it",
                    LEFT,
                )


def check_memory(layer: Any, model: nn.Module, called: str) -> None:
    """Two int8 copies of a weight have room, such as one laid out for speed; half precision called int8 has none."""
    unique = {m.weight.data_ptr(): m.weight.numel() for m in model.modules() if isinstance(m, nn.Linear)}
    weights = sum(unique.values())
    others = sum(t.nbytes for t in model.state_dict().values() if t.data_ptr() not in unique)
    held = sum({t.storage: t.nbytes for t in layer.held_tensors()}.values())
    got = f"{(held - others) / weights:.1f} bytes in memory for a weight"
    if not held <= others + oracle.BYTES_A_WEIGHT * weights:
        fail(called, got, "one byte, two with a copy in another order")


def check_int8_weights(layer: Any, model: nn.Module, called: str) -> None:
    """The weight of every Linear is in the state dict, at one byte a number."""
    held = sum(t.numel() for t in tensors(layer.state_dict()) if t.dtype in INT8)
    unique = {id(m): m.weight.numel() for m in model.modules() if isinstance(m, nn.Linear)}
    expected = sum(unique.values())
    want = f"{expected:,}, one for each number of a Linear's weight"
    think = "Is every Linear quantized, its codes kept as int8, and registered?"
    if not held >= expected:
        fail(f"{called}.state_dict()", f"{held:,} int8 values", want, think)


def on_disk(state: Any) -> int:
    """Bytes that torch.save writes for a state dict."""
    file = io.BytesIO()
    torch.save(state, file)
    return len(file.getvalue())


def changed(now: nn.Module, before: nn.Module) -> str:
    """In words, how a model differs from what it was: in its tensors, what is trained, its modes. Else empty."""
    return changed_tensors(now, before) or changed_mode(modes(now), modes(before))


def changed_tensors(now: nn.Module, before: nn.Module) -> str:
    """In words, a parameter or buffer of a model that is no longer as it was; else empty."""
    ours, theirs = before.state_dict(), now.state_dict()
    if lost := ours.keys() - theirs.keys():
        return f"the model itself lost `{min(lost)}`"
    if added := theirs.keys() - ours.keys():
        return f"the model itself has a new `{min(added)}`"
    for name, tensor in ours.items():
        if theirs[name].dtype != tensor.dtype:
            return f"`{name}` of the model is {theirs[name].dtype} now, it was {tensor.dtype}".replace("torch.", "")
        if not torch.equal(theirs[name], tensor):
            return f"`{name}` of the model has other values than before"
    trained = dict(now.named_parameters())
    for name, parameter in before.named_parameters():
        if name in trained and trained[name].requires_grad != parameter.requires_grad:
            return f"`{name}`.requires_grad was {parameter.requires_grad} and is {trained[name].requires_grad} now"
    return ""


def changed_mode(now: dict[str, bool], before: dict[str, bool]) -> str:
    """In words, one of the parts whose mode is no longer as it was; else empty."""
    changes, mode = [name for name in before if before[name] != now[name]], {True: "train", False: "eval"}
    if not changes:
        return ""
    part = f"`{changes[-1]}`, in a model in {mode[before['']]} mode," if changes[-1] else "the model itself"
    was, is_now = mode[before[changes[-1]]], mode[now[changes[-1]]]
    others = f" ({len(changes)} of {len(before)} parts changed)" * (len(changes) > 1)
    return f"{part} was in {was} mode before the call and is in {is_now} mode after it{others}"


def modes(model: nn.Module) -> dict[str, bool]:
    """By the name of every part, whether the part is in train mode."""
    return {name: module.training for name, module in model.named_modules()}
