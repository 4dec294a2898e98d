"""Every tensor that a student's object can reach: a weight that was meant to go may hide in a list or a closure."""

import gc
import types
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn.parameter import UninitializedTensorMixin

from grader.suite.load_exercise import PACKAGE

REGISTERED = ("_parameters", "_buffers", "_modules")  # where an nn.Module keeps what it was given by name


@dataclass(frozen=True)
class Held:
    """A tensor somewhere in a student's object. Tensors of one `storage` share their memory, `nbytes` in all.

    history: it remembers for gradients how it was computed, and keeps alive what it was computed from
    """

    where: str
    dtype: torch.dtype
    shape: tuple[int, ...]
    storage: int
    nbytes: int
    history: bool = False


def held_tensors(root: Any) -> list[Held]:
    """Every tensor that can be reached from root, registered or not; two names of the same one count once."""
    found, seen, pending = {}, set(), [("", root)]
    while pending:
        where, value = pending.pop()
        if id(value) in seen or isinstance(value, types.ModuleType | types.FrameType) or _is_foreign(value):
            continue
        seen.add(id(value))
        if isinstance(value, Tensor | np.ndarray):
            held = _held(value, where)
            found[held.storage, held.dtype, held.shape] = held
            pending.append((where, getattr(value, "__dict__", None)))
        elif isinstance(value, types.FunctionType):  # what it closes over, not the module it was written in
            pending += [(where, part) for part in (value.__closure__, value.__defaults__, value.__kwdefaults__)]
        else:
            pending += [(where, part) for part in gc.get_referents(value)]
            pending += _named_parts(value, where)  # taken up first, so that names are found before the bare objects
    return list(found.values())


def _named_parts(value: Any, where: str) -> list[tuple[str, Any]]:
    """What value consists of, each with where it is: `blocks.0.keep[1]`."""
    if isinstance(value, nn.Module):
        registered = [(name, part) for kind in REGISTERED for name, part in vars(value).get(kind, {}).items()]
        others = [(name, part) for name, part in vars(value).items() if name not in REGISTERED]
        return [(f"{where}.{name}".removeprefix("."), part) for name, part in others + registered]
    if isinstance(value, dict):
        return [(f"{where}[{key!r}]", part) for key, part in value.items() if isinstance(key, str | int)]
    if isinstance(value, list | tuple):
        return [(f"{where}[{k}]", part) for k, part in enumerate(value)]
    return []


def _is_foreign(value: Any) -> bool:
    """Whether value is a class that is not the student's own: only those keep a student's tensors."""
    return isinstance(value, type) and not str(getattr(value, "__module__", "")).startswith(f"{PACKAGE}.")


def _held(tensor: Tensor | np.ndarray, where: str) -> Held:
    if isinstance(tensor, np.ndarray):
        whole = tensor
        while isinstance(whole.base, np.ndarray):
            whole = whole.base
        dtype = getattr(torch, tensor.dtype.name, torch.uint8)
        return Held(where, dtype, tensor.shape, whole.ctypes.data, whole.nbytes)
    if isinstance(tensor, UninitializedTensorMixin):  # of a lazy module, before its first call
        return Held(where, tensor.dtype, (), -id(tensor), 0)
    try:
        storage, nbytes = tensor.untyped_storage().data_ptr(), tensor.untyped_storage().nbytes()
    except (RuntimeError, NotImplementedError):  # a layout without a storage, such as oneDNN's
        storage, nbytes = -id(tensor), tensor.numel() * tensor.element_size()
    return Held(where, tensor.dtype, tuple(tensor.shape), storage, nbytes, tensor.grad_fn is not None)
