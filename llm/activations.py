"""What the Linears of a model are given: the calibration data of AWQ and GPTQ."""

import torch
from torch import Tensor, nn


@torch.no_grad()
def linear_inputs(model: nn.Module, ids: Tensor) -> dict[str, Tensor]:
    """The inputs of every Linear while the model reads ids once.

    ids:     (B, T) int64
    returns: {name: (B * T, K)}, names as model.named_modules() gives them, in the order of their calls
    """
    seen: dict[str, Tensor] = {}

    def note(name: str):
        return lambda _, inputs: seen.update({name: inputs[0].detach().flatten(0, -2)})

    linears = [(name, module) for name, module in model.named_modules() if isinstance(module, nn.Linear)]
    hooks = [linear.register_forward_pre_hook(note(name)) for name, linear in linears]
    try:
        model(ids)
    finally:
        for hook in hooks:
            hook.remove()
    return seen
