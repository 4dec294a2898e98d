"""The deep copy of a Linear changes its own class; no new object is made, so sharing takes care of itself."""

import copy

import torch
from torch import nn

from .ex02_per_channel import quantize_per_channel
from .ex04_int8_product import int8_matmul


class Swapped(nn.Module):
    def forward(self, x):
        return int8_matmul(x, self.codes, self.scales, self.bias)


def _swap(linear):
    codes, scales = quantize_per_channel(linear.weight.detach())
    del linear.weight
    linear.register_buffer("codes", codes)
    linear.register_buffer("scales", scales)
    linear.__class__ = Swapped
    return linear


def int8_linear(linear):
    return _swap(copy.deepcopy(linear))


def swap_linears(model, skip=()):
    model = copy.deepcopy(model)
    names = {}
    for name, module in model.named_modules(remove_duplicate=False):
        names.setdefault(module, set()).add(name)
    for module, own in names.items():
        if isinstance(module, nn.Linear) and not own & set(skip):
            _swap(module)
    return model
