"""Weighs the error of each column by its own activations. Do errors of two columns that move together add up?"""

# caught by: test_the_search_finds_the_least_output_error
# says: called awq_scales(w, x, ... None), all others equal and moving together

import copy

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from .ex06_perplexity import drift, perplexity
from .ex10_int4 import quantize_grouped, spread

STEPS = 20


def activation_magnitude(x: Tensor) -> Tensor:
    return x.float().abs().reshape(-1, x.shape[-1]).mean(dim=0)


def round_trip_grouped(w: Tensor, bits: int, group_size: int | None) -> Tensor:
    codes, scales = quantize_grouped(w, bits, group_size)
    return codes * spread(scales, w.shape[1], group_size or w.shape[1])


def awq_scales(w: Tensor, x: Tensor, bits: int, group_size: int | None) -> Tensor:
    w, x = w.float(), x.float().reshape(-1, x.shape[-1])
    magnitude = activation_magnitude(x).clamp(min=1e-6)
    gram = (x.t() @ x).diag().diag()
    best, least = torch.ones_like(magnitude), float("inf")
    for step in range(STEPS):
        s = magnitude ** (step / STEPS)
        s = s / (s.max() * s.min()).sqrt()
        error = round_trip_grouped(w * s, bits, group_size) / s - w
        loss = ((error @ gram) * error).sum().item()
        if loss < least:
            best, least = s, loss
    return best


class AWQLinear(nn.Module):
    def __init__(self, linear: nn.Linear, s: Tensor, bits: int, group_size: int | None):
        super().__init__()
        self.size = group_size or linear.in_features
        codes, scales = quantize_grouped(linear.weight.detach() * s, bits, group_size)
        self.register_buffer("codes", codes)
        self.register_buffer("scales", scales)
        self.register_buffer("s", s)
        self.register_buffer("bias", None if linear.bias is None else linear.bias.detach().float().clone())
        self.train(linear.training)

    def forward(self, x: Tensor) -> Tensor:
        return F.linear(x.float() / self.s, self.codes * spread(self.scales, len(self.s), self.size), self.bias)


def awq_linear(linear: nn.Linear, x: Tensor, bits: int, group_size: int | None) -> nn.Module:
    return AWQLinear(linear, awq_scales(linear.weight.detach(), x, bits, group_size), bits, group_size)
