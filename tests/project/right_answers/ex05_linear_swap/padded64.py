"""Codes are padded with zeros to a multiple of 64 in both axes, as integer kernels like it."""

import copy

import torch
from torch import nn
from torch.nn import functional as F

from .ex02_per_channel import quantize_per_channel
from .ex04_int8_product import int8_product, quantize_tokens


class Padded(nn.Module):
    def __init__(self, linear):
        super().__init__()
        q, s = quantize_per_channel(linear.weight.detach())
        self.n, self.k = q.shape
        self.register_buffer("codes", F.pad(q, (0, -self.k % 64, 0, -self.n % 64)))
        self.register_buffer("scales", s)
        self.register_buffer("bias", None if linear.bias is None else linear.bias.detach().clone())

    def forward(self, x):
        q, s = quantize_tokens(x)
        y = int8_product(F.pad(q, (0, -self.k % 64)), self.codes)[..., : self.n].float() * s * self.scales.flatten()
        return y if self.bias is None else y + self.bias


def int8_linear(linear):
    return Padded(linear)


def swap_linears(model, skip=()):
    stay = {m for n, m in model.named_modules(remove_duplicate=False) if n in skip}
    memo = {id(m): int8_linear(m) for m in model.modules() if isinstance(m, nn.Linear) and m not in stay}
    return memo.get(id(model)) or copy.deepcopy(model, memo)
