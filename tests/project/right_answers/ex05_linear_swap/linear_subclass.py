"""A subclass of nn.Linear whose weight is deleted and whose codes take the name `weight` as a buffer."""

import copy

import torch
from torch import nn

from .ex02_per_channel import quantize_per_channel
from .ex04_int8_product import int8_matmul


class Int8(nn.Linear):
    def __init__(self, linear):
        super().__init__(linear.in_features, linear.out_features, linear.bias is not None, device="meta")
        codes, scales = quantize_per_channel(linear.weight.detach())
        del self.weight
        self.register_buffer("weight", codes)
        self.register_buffer("weight_scale", scales.view(-1).double())
        if linear.bias is not None:
            self.bias = nn.Parameter(linear.bias.detach().clone())

    def forward(self, x):
        return int8_matmul(x, self.weight, self.weight_scale.float().unsqueeze(1), self.bias)


def int8_linear(linear):
    return Int8(linear)


def swap_linears(model, skip=()):
    if isinstance(model, nn.Linear):
        return copy.deepcopy(model) if "" in skip else int8_linear(model)
    keep = [model.get_submodule(n) for n in skip]
    # deepcopy's memo decides what a Linear becomes: its int8 version, the same one wherever it is met
    memo = {
        id(m): int8_linear(m) for m in model.modules() if isinstance(m, nn.Linear) and all(m is not k for k in keep)
    }
    return copy.deepcopy(model, memo)
