"""Rounds the model that it was given and does not put its weights back. What will the next caller find?"""

# caught by: test_the_gpt_survives_four_bits_and_not_two
# says: called bit_width_sweep(gpt, ... tokens, ... got ... of the model has other values than before

import copy
from collections.abc import Iterable

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from .ex01_round_trip import quantize, symmetric_scale
from .ex06_perplexity import drift, perplexity

SMALLEST = torch.finfo(torch.float16).smallest_normal


def pack_int4(q: Tensor) -> Tensor:
    nibbles = F.pad(q, (0, len(q) % 2)).view(torch.uint8) & 0xF
    return nibbles[0::2] | nibbles[1::2] << 4


def unpack_int4(packed: Tensor, n: int) -> Tensor:
    nibbles = torch.stack((packed & 0xF, packed >> 4), dim=1).flatten()[:n].view(torch.int8)
    return torch.where(nibbles > 7, nibbles - 16, nibbles)


def quantize_grouped(w: Tensor, bits: int = 4, group_size: int | None = 32) -> tuple[Tensor, Tensor]:
    symmetric_scale(w, bits)
    rows, columns = w.shape
    size = group_size or columns
    groups = F.pad(w.float(), (0, -columns % size)).view(rows, -1, size)
    scales = groups.abs().amax(dim=2) / (2 ** (bits - 1) - 1)
    scales = scales.clamp(min=SMALLEST).half()
    return quantize(w, spread(scales, columns, size), bits), scales


def spread(scales: Tensor, columns: int, size: int) -> Tensor:
    return scales.float().repeat_interleave(size, dim=1)[:, :columns]


class Int4Linear(nn.Module):
    def __init__(self, linear: nn.Linear, group_size: int | None):
        super().__init__()
        self.shape = linear.weight.shape
        self.size = group_size or linear.in_features
        codes, scales = quantize_grouped(linear.weight.detach(), 4, group_size)
        self.register_buffer("packed", pack_int4(codes.flatten()))
        self.register_buffer("scales", scales)
        self.register_buffer("bias", None if linear.bias is None else linear.bias.detach().float().clone())
        self.train(linear.training)

    def forward(self, x: Tensor) -> Tensor:
        codes = unpack_int4(self.packed, self.shape.numel()).view(self.shape)
        return F.linear(x.float(), codes * spread(self.scales, self.shape[1], self.size), self.bias)


def int4_linear(linear: nn.Linear, group_size: int | None = 32) -> nn.Module:
    return Int4Linear(linear, group_size)


def bit_width_sweep(model: nn.Module, tokens: Tensor, widths: Iterable[int]) -> dict[int, float]:
    found, rounded, original = {}, model, copy.deepcopy(model)
    for bits in widths:
        for linear, before in zip(rounded.modules(), original.modules(), strict=True):
            if isinstance(linear, nn.Linear):
                codes, scales = quantize_grouped(before.weight.detach(), bits, 32)
                linear.weight.data = codes * spread(scales, linear.in_features, 32)
        found[bits] = perplexity(rounded, tokens, model.config.block_size)
    return found
