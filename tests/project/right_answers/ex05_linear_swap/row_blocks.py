"""Codes lie in several buffers of 16 output rows each, so that a product stays in the cache."""

import copy

import torch
from torch import nn

from .ex02_per_channel import quantize_per_channel
from .ex04_int8_product import int8_product, quantize_tokens


class Blocks(nn.Module):
    def __init__(self, linear):
        super().__init__()
        q, s = quantize_per_channel(linear.weight.detach())
        self.blocks = len(q.split(16))
        for i, part in enumerate(q.split(16)):
            self.register_buffer(f"codes{i}", part.clone())
        self.register_buffer("scales", s)
        self.register_buffer("bias", None if linear.bias is None else linear.bias.detach().clone())

    def forward(self, x):
        q, s = quantize_tokens(x)
        y = torch.cat([int8_product(q, getattr(self, f"codes{i}")) for i in range(self.blocks)], -1).float()
        y = y * s * self.scales.flatten()
        return y if self.bias is None else y + self.bias


def int8_linear(linear):
    return Blocks(linear)


def swap_linears(model, skip=()):
    stay = {m for n, m in model.named_modules(remove_duplicate=False) if n in skip}
    memo = {id(m): int8_linear(m) for m in model.modules() if isinstance(m, nn.Linear) and m not in stay}
    return memo.get(id(model)) or copy.deepcopy(model, memo)
