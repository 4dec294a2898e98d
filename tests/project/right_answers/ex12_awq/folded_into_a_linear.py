"""Eleven candidates up to alpha = 1, judged by the outputs themselves; the layer is a Linear with Q(W s) / s in it."""

import copy

import torch

from .ex10_int4 import quantize_grouped


def activation_magnitude(x):
    return x.to(torch.float32).reshape(-1, x.shape[-1]).abs().mean(0)


def rounded(w, bits, size):
    q, scales = quantize_grouped(w, bits, size)
    columns = w.shape[1]
    return q.float() * scales.float()[:, torch.arange(columns) // (size or columns)]


def candidates(x):
    m = activation_magnitude(x)
    m = torch.where(m > 0, m, m[m > 0].min() if (m > 0).any() else 1.0)
    for k in range(11):
        s = m ** (k / 10)
        yield s / s.mean()


def awq_scales(w, x, bits, group_size):
    w, x = w.detach().float(), x.reshape(-1, w.shape[1]).float()
    y = x @ w.T

    def error(s):
        return (x / s @ rounded(w * s, bits, group_size).T - y).pow(2).mean()

    return min(candidates(x), key=error)


def awq_linear(linear, x, bits, group_size):
    s = awq_scales(linear.weight, x, bits, group_size)
    other = copy.deepcopy(linear)
    other.weight.data = rounded(linear.weight.detach() * s, bits, group_size) / s
    return other
