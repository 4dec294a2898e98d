"""A convolution of width 1 in float64 multiplies; codes are kept as its kernel, (N, K, 1)."""

import copy

import torch
from torch import nn
from torch.nn import functional as F

from .ex02_per_channel import quantize_per_channel
from .ex04_int8_product import quantize_tokens


class Layer(nn.Module):
    def __init__(self, linear):
        super().__init__()
        codes, scales = quantize_per_channel(linear.weight.detach())
        self.register_buffer("kernel", codes.unsqueeze(-1))
        self.register_buffer("row_scales", scales[:, 0])
        self.register_buffer("offset", None if linear.bias is None else linear.bias.detach().clone())

    def forward(self, x):
        lead, (codes, scales) = x.shape[:-1], quantize_tokens(x)
        columns = codes.reshape(-1, x.shape[-1], 1).double()
        y = F.conv1d(columns, self.kernel.double()) if len(columns) else columns.new_zeros(0, len(self.kernel), 1)
        y = y.view(*lead, -1) if y.numel() else y.view(*lead, len(self.kernel))
        y = y * scales.double() * self.row_scales.double()
        return (y if self.offset is None else y + self.offset).float()


def int8_linear(linear):
    return Layer(linear)


def swap_linears(model, skip=()):
    stay = {m for n, m in model.named_modules(remove_duplicate=False) if n in skip}
    memo = {id(m): int8_linear(m) for m in model.modules() if isinstance(m, nn.Linear) and m not in stay}
    return memo.get(id(model)) or copy.deepcopy(model, memo)
