"""Fifteen candidates in float64 and with float32 scales of its own; normalized by the geometric mean."""

import torch
from torch import nn


def activation_magnitude(x):
    tokens = x.double().reshape(-1, x.shape[-1])
    return (tokens.abs().sum(dim=0) / len(tokens)).float()


def parts(w, bits, size):
    size = w.shape[1] if size is None else size
    for part in w.split(size, dim=1):
        scale = (part.abs().amax(dim=1, keepdim=True) / (2 ** (bits - 1) - 1)).clamp(min=1e-30)
        yield (part / scale).round() * scale


def awq_scales(w, x, bits, group_size):
    w, x = w.double(), x.double().reshape(-1, x.shape[-1])
    magnitude = x.abs().mean(0) + 1e-8 * x.abs().mean() + 1e-30
    cov = x.T @ x
    losses = {}
    for alpha in torch.linspace(0, 1, 15).tolist():
        s = (magnitude.log() * alpha).exp()
        s = s / s.log().mean().exp()
        e = torch.cat(list(parts(w * s, bits, group_size)), dim=1) / s - w
        losses[torch.einsum("nk,kl,nl->", e, cov, e).item()] = s
    return losses[min(losses)].float()


class Scaled(nn.Module):
    def __init__(self, linear, x, bits, group_size):
        super().__init__()
        w = linear.weight.detach().double()
        s = awq_scales(w, x, bits, group_size)
        self.register_buffer("inverse", 1 / s)
        self.register_buffer("weight", torch.cat(list(parts(w * s, bits, group_size)), dim=1).float())
        self.bias = linear.bias

    def forward(self, x):
        y = (x * self.inverse) @ self.weight.t()
        return y if self.bias is None else y + self.bias


def awq_linear(linear, x, bits, group_size):
    return Scaled(linear, x, bits, group_size)
