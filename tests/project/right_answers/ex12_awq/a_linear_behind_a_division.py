"""Twenty ratios below 1, factors of at least 1e-4, the outputs compared; a Linear behind a module that divides x."""

import copy

import torch
from torch import nn

from .ex10_int4 import quantize_grouped, spread


def activation_magnitude(x):
    return x.contiguous().view(-1, x.shape[-1]).float().abs().mean(0)


def pseudo(w, bits, size):
    q, s = quantize_grouped(w, bits, size)
    return q * spread(s, w.shape[1], size or w.shape[1])


def awq_scales(w, x, bits, group_size):
    w = w.float()
    x = x.reshape(-1, x.shape[-1]).float()
    org = x @ w.t()
    best_error, best = float("inf"), None
    m = activation_magnitude(x)
    for k in range(20):
        ratio = k * 1 / 20
        s = m.pow(ratio).clamp(min=1e-4).view(-1)
        s = s / (s.max() * s.min()).sqrt()
        out = x @ (pseudo(w * s.view(1, -1), bits, group_size) / s.view(1, -1)).t()
        loss = (org - out).float().pow(2).mean().item()
        if loss < best_error:
            best_error, best = loss, s
    return best


class ScaledActivation(nn.Module):
    def __init__(self, linear, s):
        super().__init__()
        self.act, self.scales = linear, nn.Parameter(s.data, requires_grad=False)

    def forward(self, x):
        return self.act(x / self.scales.view(*[1] * (x.dim() - 1), -1))


def awq_linear(linear, x, bits, group_size):
    new = copy.deepcopy(linear)
    s = awq_scales(linear.weight.data, x, bits, group_size)
    new.weight.data = pseudo(linear.weight.data * s, bits, group_size)
    return ScaledActivation(new, s)
