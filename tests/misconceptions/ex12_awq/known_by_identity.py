"""Keeps the factors of a weight for the next call with the same tensor. What if other values are in it by then?"""

# caught by: test_every_column_gets_a_factor
# says: called awq_scales(w, x, 4, None), call 2 of 2, with the same tensor

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from .ex10_int4 import quantize_grouped, spread

STEPS = 20


def activation_magnitude(x: Tensor) -> Tensor:
    return x.float().abs().reshape(-1, x.shape[-1]).mean(dim=0)


def round_trip_grouped(w: Tensor, bits: int, group_size: int | None) -> Tensor:
    codes, scales = quantize_grouped(w, bits, group_size)
    return codes * spread(scales, w.shape[1], group_size or w.shape[1])


FOUND = {}


def awq_scales(w: Tensor, x: Tensor, bits: int, group_size: int | None) -> Tensor:
    key = id(w), id(x), bits, group_size
    if key not in FOUND:
        FOUND[key] = w, x, search(w, x, bits, group_size)  # kept, so that no id is used twice
    return FOUND[key][-1]


def search(w: Tensor, x: Tensor, bits: int, group_size: int | None) -> Tensor:
    w, x = w.float(), x.float().reshape(-1, x.shape[-1])
    magnitude = activation_magnitude(x).clamp(min=1e-6)
    gram = x.t() @ x
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

    def forward(self, x: Tensor) -> Tensor:
        return F.linear(x.float() / self.s, self.codes * spread(self.scales, len(self.s), self.size), self.bias)


def awq_linear(linear: nn.Linear, x: Tensor, bits: int, group_size: int | None) -> nn.Module:
    return AWQLinear(linear, awq_scales(linear.weight.detach(), x, bits, group_size), bits, group_size)
