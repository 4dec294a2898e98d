"""NumPy multiplies int64 codes; the scale of a row is 1 / (127 / largest); a walk over the names swaps."""

import copy

import numpy as np
import torch
from torch import nn


class Layer(nn.Module):
    def __init__(self, linear):
        super().__init__()
        w = linear.weight.detach().to(torch.float32).numpy().astype(np.float64)
        largest = np.abs(w).max(axis=1, keepdims=True)
        inverse = np.divide(127, largest, out=np.ones_like(largest), where=largest > 0)
        self.register_buffer("codes", torch.from_numpy(np.rint(w * inverse).astype(np.int8)))
        self.register_buffer("scales", torch.from_numpy((1 / inverse).astype(np.float32)))
        self.register_buffer("bias", None if linear.bias is None else linear.bias.detach().clone())

    def forward(self, x):
        a = x.detach().to(torch.float32).numpy().astype(np.float64)
        largest = np.abs(a).max(axis=-1, keepdims=True, initial=0)
        steps = np.where(largest > 0, largest / 127, 1)
        codes = np.rint(a / steps).astype(np.int64)
        y = (
            np.matmul(codes, self.codes.numpy().astype(np.int64).T)
            * steps
            * self.scales.numpy().astype(np.float64).T[0]
        )
        if self.bias is not None:
            y = y + self.bias.numpy()
        return torch.tensor(y, dtype=torch.float32)


def int8_linear(linear):
    return Layer(linear)


def swap_linears(model, skip=()):
    model = copy.deepcopy(model)
    kept = [model.get_submodule(name) for name in skip]
    if isinstance(model, nn.Linear):
        return model if kept else int8_linear(model)
    made = {}
    for parent in model.modules():
        for name, child in list(vars(parent)["_modules"].items()):
            if isinstance(child, nn.Linear) and not any(child is k for k in kept):
                if child not in made:
                    made[child] = int8_linear(child)
                parent.register_module(name, made[child])
    return model
