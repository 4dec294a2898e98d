"""Loops over codes and groups; an odd number of codes is padded with a copy of the first; scales of float64."""

import copy

import torch
from torch import nn

from .ex06_perplexity import perplexity


def pack_int4(q):
    codes = [int(c) & 15 for c in q]
    codes += codes[:1] * (len(codes) % 2)  # the unused half may hold anything
    return torch.tensor([16 * a + b for a, b in zip(codes[1::2], codes[::2], strict=True)], dtype=torch.uint8)


def unpack_int4(packed, n):
    codes = []
    for byte in packed.tolist():
        codes += [(half ^ 8) - 8 for half in (byte & 15, byte >> 4)]
    return torch.tensor(codes[:n], dtype=torch.int8)


def quantize_grouped(w, bits=4, group_size=32):
    if not 2 <= bits <= 8 or w.numel() == 0 or not w.isfinite().all():
        raise ValueError("bits or w")
    w, qmax = w.detach().double(), 2 ** (bits - 1) - 1
    q, scales = [], []
    for group in w.split(group_size or w.shape[1], dim=1):
        s = torch.linalg.vector_norm(group, ord=float("inf"), dim=1, keepdim=True) / qmax
        s = s.half().maximum(torch.tensor(2.0**-14, dtype=torch.float16))
        q.append((group * (1 / s.double())).round().clamp(-qmax, qmax).char())
        scales.append(s)
    return torch.hstack(q), torch.hstack(scales)


class Layer(nn.Module):
    def __init__(self, linear, group_size):
        super().__init__()
        q, scales = quantize_grouped(linear.weight, 4, group_size)
        self.out_features, self.in_features = q.shape
        self.group_size = group_size or self.in_features
        self.codes, self.scales = nn.Buffer(pack_int4(q.reshape(-1))), nn.Buffer(scales)
        self.bias = linear.bias

    def forward(self, x):
        q = unpack_int4(self.codes, self.out_features * self.in_features).reshape(self.out_features, -1)
        group = torch.arange(self.in_features) // self.group_size
        y = torch.einsum("...k,nk->...n", x.double(), q.double() * self.scales.double()[:, group])
        return (y if self.bias is None else y + self.bias.double()).float()


def int4_linear(linear, group_size=32):
    return Layer(linear, group_size).requires_grad_(False)


def bit_width_sweep(model, tokens, widths):
    found = dict.fromkeys(widths)
    for bits in found:
        rounded = copy.deepcopy(model).requires_grad_(False)
        for linear in (m for m in rounded.modules() if type(m) is nn.Linear):
            q, scales = quantize_grouped(linear.weight, bits, 32)
            for g in range(scales.shape[1]):
                columns = slice(32 * g, 32 * g + 32)
                linear.weight[:, columns] = q[:, columns] * scales[:, g : g + 1].float()
        found[bits] = perplexity(rounded, tokens, model.config.block_size)
    return found
