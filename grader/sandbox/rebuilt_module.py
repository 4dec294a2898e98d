"""The worker's copy of a suite's module, built again on the trusted side from what the worker says of it."""

import torch
from torch import nn

from grader.suite.marshal import copy_module


class Other(nn.Module):
    """A part that is no longer of the kind that it was."""


def rebuilt(model: nn.Module, parts: dict, state: dict, trained: dict) -> nn.Module:
    """A copy of model in the state that is reported; what is not of its kind any more becomes an Other."""
    copy = copy_module(model)
    for name, (kind, training) in parts.items():  # parents before their children
        there = _part(copy, name)
        if there is None or type(there).__qualname__ != kind:
            there = Other()
            copy = _put(copy, name, there)
        there.training = training
    for name in [name for name, _ in copy.named_modules(remove_duplicate=False) if name not in parts]:
        parent, _, last = name.rpartition(".")
        if owner := _part(copy, parent):
            owner._modules.pop(last, None)
    for name, tensor in state.items():
        parent, _, last = name.rpartition(".")
        owner = _part(copy, parent)
        if last in owner._parameters:
            wants, has = trained.get(name, (False, False))
            owner._parameters[last] = nn.Parameter(tensor, requires_grad=wants and tensor.is_floating_point())
            owner._parameters[last].grad = torch.zeros_like(tensor) if has else None
        else:
            owner._buffers[last] = tensor
    return copy


def _part(module: nn.Module, name: str) -> nn.Module | None:
    return dict(module.named_modules(remove_duplicate=False)).get(name)


def _put(module: nn.Module, name: str, part: nn.Module) -> nn.Module:
    """module with part in the place of this name."""
    parent, _, last = name.rpartition(".")
    if not name:
        return part
    _part(module, parent)._modules[last] = part
    return module
