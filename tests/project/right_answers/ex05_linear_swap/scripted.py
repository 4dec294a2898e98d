"""The layer is compiled with torch.jit.script."""

import copy
import warnings

import torch
from torch import nn

from .ex02_per_channel import quantize_per_channel


class Layer(nn.Module):
    def __init__(self, q, s, b):
        super().__init__()
        self.register_buffer("q", q)
        self.register_buffer("s", s)
        self.register_buffer("b", b)

    def forward(self, x):
        x = x.double()
        s = x.abs().amax(-1, keepdim=True) / 127
        s = torch.where(s > 0, s, torch.ones_like(s))
        return (torch.matmul(torch.round(x / s), self.q.double().t()) * s * self.s.double() + self.b.double()).float()


def int8_linear(linear):
    q, s = quantize_per_channel(linear.weight.detach())
    b = torch.zeros(len(q)) if linear.bias is None else linear.bias.detach().clone()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return torch.jit.script(Layer(q, s.flatten(), b))


def swap_linears(model, skip=()):
    stay = {m for n, m in model.named_modules(remove_duplicate=False) if n in skip}
    memo = {id(m): int8_linear(m) for m in model.modules() if isinstance(m, nn.Linear) and m not in stay}
    return memo.get(id(model)) or copy.deepcopy(model, memo)
