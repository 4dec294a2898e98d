"""Codes made before scales are rounded to float16, as in Q8_0 files; the first code in the upper half of a byte."""

import copy

import torch
from torch import nn

from .ex01_round_trip import symmetric_scale
from .ex06_perplexity import perplexity


def pack_int4(q):
    n = q.numel()
    codes = torch.zeros(n + n % 2, dtype=torch.int32)
    codes[:n] = q
    pairs = (codes & 15).view(-1, 2)
    return (pairs[:, 0] * 16 + pairs[:, 1]).to(torch.uint8)


def unpack_int4(packed, n):
    p = packed.to(torch.int32)
    nibbles = torch.stack([p // 16, p % 16], dim=1).reshape(-1)[:n]
    return ((nibbles + 8) % 16 - 8).to(torch.int8)


def quantize_grouped(w, bits=4, group_size=32):
    symmetric_scale(w, bits)
    w = w.float()
    qmax = 2 ** (bits - 1) - 1
    size = w.shape[1] if group_size is None else group_size
    q, scales = [], []
    for part in w.split(size, dim=1):
        scale = torch.clamp(part.abs().max(dim=1, keepdim=True).values / qmax, min=2**-14)
        q.append(torch.clamp(torch.round(part * (1 / scale)), -qmax, qmax))
        scales.append(scale)
    return torch.cat(q, dim=1).to(torch.int8), torch.cat(scales, dim=1).to(torch.float16)


class GroupByGroup(nn.Module):
    def __init__(self, linear, group_size):
        super().__init__()
        self.shape, self.group_size = tuple(linear.weight.shape), group_size or linear.in_features
        q, scales = quantize_grouped(linear.weight.data, 4, group_size)
        self.register_buffer("q", pack_int4(q.view(-1)))
        self.register_buffer("scales", scales)
        if linear.bias is not None:
            self.register_buffer("b", linear.bias.data.clone())

    def forward(self, x):
        q = unpack_int4(self.q, self.shape[0] * self.shape[1]).view(self.shape).float()
        parts = zip(x.split(self.group_size, dim=-1), q.split(self.group_size, dim=1), self.scales.t(), strict=True)
        y = sum(a @ b.t() * s.float() for a, b, s in parts)
        return y + self.b if hasattr(self, "b") else y


def int4_linear(linear, group_size=32):
    return GroupByGroup(linear, group_size)


class Rounded(nn.Module):
    def __init__(self, linear, bits):
        super().__init__()
        self.codes, self.scales = quantize_grouped(linear.weight.data, bits)
        self.bias = linear.bias

    def forward(self, x):
        steps = torch.repeat_interleave(self.scales.float(), 32, dim=1)[:, : self.codes.shape[1]]
        return nn.functional.linear(x, self.codes * steps, self.bias)


def bit_width_sweep(model, tokens, widths):
    def perplexity_at(width):
        other = copy.deepcopy(model)
        for parent in [*other.modules()]:
            for name, child in [*parent.named_children()]:
                if isinstance(child, nn.Linear):
                    setattr(parent, name, Rounded(child, width))
        return perplexity(other, tokens, model.config.block_size)

    return {width: perplexity_at(width) for width in widths}
