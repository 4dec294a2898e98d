"""Weights are kept in two halves by columns, and each half has a float32 product of its own; set_submodule swaps."""

import copy

import torch
from torch import nn

from .ex02_per_channel import quantize_per_channel
from .ex04_int8_product import quantize_tokens


class Layer(nn.Module):
    def __init__(self, linear):
        super().__init__()
        codes, scales = quantize_per_channel(linear.weight.detach())
        self.register_buffer("scales", scales.flatten())
        self.middle = linear.in_features // 2
        self.register_buffer("left", codes[:, : self.middle].clone())
        self.register_buffer("right", codes[:, self.middle :].clone())
        self.bias = None if linear.bias is None else nn.Parameter(linear.bias.detach().clone())

    def forward(self, x):
        codes, scales = quantize_tokens(x)
        codes = codes.to(torch.float64)
        y = codes[..., : self.middle] @ self.left.double().mT + codes[..., self.middle :] @ self.right.double().mT
        y = (y * scales * self.scales).float()
        return y if self.bias is None else (y + self.bias).detach()


def int8_linear(linear):
    return Layer(linear)


def swap_linears(model, skip=()):
    model = copy.deepcopy(model)
    names = [n for n, m in model.named_modules(remove_duplicate=False) if isinstance(m, nn.Linear)]
    kept = {model.get_submodule(n) for n in skip}
    layers = {}
    for name in names:
        old = model.get_submodule(name)
        if isinstance(old, nn.Linear) and old not in kept:
            layer = layers.setdefault(old, int8_linear(old)) if old not in layers else layers[old]
            if not name:
                return layer
            model.set_submodule(name, layer)
    return model
