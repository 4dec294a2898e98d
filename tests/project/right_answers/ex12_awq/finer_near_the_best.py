"""A coarse search, then a finer one around its best; codes are packed away in int8."""

import torch
from torch import nn
from torch.nn import functional as F

from .ex10_int4 import quantize_grouped


def activation_magnitude(x):
    return torch.linalg.vector_norm(x.float().reshape(-1, x.shape[-1]), ord=1, dim=0) / (x.numel() // x.shape[-1])


def _round_trip(w, bits, size):
    q, s = quantize_grouped(w, bits, size)
    return q * torch.repeat_interleave(s.float(), size or w.shape[1], dim=1)[:, : w.shape[1]]


def awq_scales(w, x, bits, group_size):
    w, x = w.float(), x.float().reshape(-1, x.shape[-1])
    magnitude = activation_magnitude(x)
    magnitude = torch.clamp(magnitude, min=float(magnitude.max()) * 1e-4 + 1e-20)

    def s_of(alpha):
        s = magnitude.pow(alpha)
        return s / torch.sqrt(s.max() * s.min())

    def error(alpha):
        s = s_of(alpha)
        return float((F.linear(x, _round_trip(w * s, bits, group_size) / s - w)).square().sum())

    coarse = min((k / 10 for k in range(11)), key=error)
    return s_of(min((coarse + d / 40 for d in range(-3, 4)), key=error) if coarse else 0.0)


class Layer(nn.Module):
    def __init__(self, linear, s, bits, group_size):
        super().__init__()
        self.q, scales = quantize_grouped(linear.weight.data * s, bits, group_size)
        size = group_size or linear.in_features
        self.steps = torch.repeat_interleave(scales.float(), size, dim=1)[:, : linear.in_features]
        self.s = nn.Parameter(s, requires_grad=False)
        self.bias = linear.bias

    def forward(self, x):
        return F.linear(x, self.q * self.steps / self.s, self.bias)


def awq_linear(linear, x, bits, group_size):
    return Layer(linear, awq_scales(linear.weight.data, x, bits, group_size), bits, group_size)
