"""The Linears of a model: what they are given (calibration data of AWQ and GPTQ), and others in their place."""

import copy
from collections.abc import Callable

import torch
from torch import Tensor, nn

from llm.model import GPT


def linears(model: nn.Module) -> dict[str, nn.Linear]:
    """Names are those of model.named_modules()."""
    return {name: module for name, module in model.named_modules() if isinstance(module, nn.Linear)}


@torch.no_grad()
def linear_inputs(model: nn.Module, ids: Tensor) -> dict[str, Tensor]:
    """The inputs of every Linear while the model reads ids once.

    ids:     (B, T) int64
    returns: {name: (B * T, K)}, in the order of their calls
    """
    seen: dict[str, Tensor] = {}

    def note(name: str):
        return lambda _, inputs: seen.update({name: inputs[0].detach().flatten(0, -2)})

    hooks = [linear.register_forward_pre_hook(note(name)) for name, linear in linears(model).items()]
    try:
        model(ids)
    finally:
        for hook in hooks:
            hook.remove()
    return seen


def with_weights(model: GPT, make: Callable[[str, Tensor], Tensor]) -> GPT:
    """A copy of the model, the weight w, (N, K), of each Linear replaced by make(its name, w) in float32."""
    model = copy.deepcopy(model)
    for name, linear in linears(model).items():
        linear.weight.data = make(name, linear.weight.detach()).float()
    return model


def with_layers(model: GPT, make: Callable[[str, nn.Linear], nn.Module]) -> GPT:
    """A copy of the model, each Linear replaced by make(its name, it)."""
    model = copy.deepcopy(model)
    for name, linear in linears(model).items():
        model.set_submodule(name, make(name, linear))
    return model
