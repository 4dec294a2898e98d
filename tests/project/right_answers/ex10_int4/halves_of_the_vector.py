"""NumPy; the first half of the codes in the lower four bits, the second half in the upper ones, each plus 8."""

import copy

import numpy as np
import torch
from torch import nn

from .ex06_perplexity import perplexity


def pack_int4(q):
    shifted = np.pad(q.numpy().astype(np.uint8) + np.uint8(8), (0, len(q) % 2))
    low, high = np.split(shifted, 2)
    return torch.from_numpy(low | (high << 4))


def unpack_int4(packed, n):
    p = packed.numpy()
    both = np.concatenate([p & 15, p >> 4]).astype(np.int8) - 8
    half = len(p)
    return torch.from_numpy(np.concatenate([both[:half], both[half : half + n - half]]).astype(np.int8))


def quantize_grouped(w, bits=4, group_size=32):
    if bits not in range(2, 9) or w.numel() == 0 or not bool(torch.isfinite(w).all()):
        raise ValueError("bad input")
    w = w.detach().to(torch.float32).numpy()
    qmax = 2 ** (bits - 1) - 1
    columns = w.shape[1]
    starts = range(0, columns, group_size or columns)
    codes, scales = np.empty(w.shape, np.int8), np.empty((len(w), len(starts)), np.float16)
    for g, start in enumerate(starts):
        part = w[:, start : start + (group_size or columns)]
        scales[:, g] = np.maximum(np.abs(part).max(axis=1) / qmax, 2.0**-14)
        codes[:, start : start + part.shape[1]] = np.clip(
            np.rint(part / scales[:, g : g + 1].astype(np.float32)), -qmax, qmax
        )
    return torch.from_numpy(codes), torch.from_numpy(scales)


def weight_of(codes, scales, group_size):
    columns = codes.shape[1]
    group = torch.arange(columns) // (group_size or columns)
    return codes.float() * scales.float()[:, group]


class Packed(nn.Module):
    def __init__(self, linear, group_size):
        super().__init__()
        codes, scales = quantize_grouped(linear.weight, 4, group_size)
        self.group_size, self.rows = group_size, linear.out_features
        self.columns = linear.in_features
        self.register_buffer("weight", pack_int4(codes.reshape(-1)))
        self.register_buffer("weight_scales", scales)
        self.register_buffer("bias", None if linear.bias is None else linear.bias.detach().clone())

    def forward(self, x):
        codes = unpack_int4(self.weight, self.rows * self.columns).reshape(self.rows, self.columns)
        y = x @ weight_of(codes, self.weight_scales, self.group_size).T
        return y if self.bias is None else y + self.bias


def int4_linear(linear, group_size=32):
    return Packed(linear, group_size)


def bit_width_sweep(model, tokens, widths):
    results = {}
    for width in widths:
        clone = copy.deepcopy(model)
        for module in clone.modules():
            if isinstance(module, nn.Linear):
                module.weight = nn.Parameter(weight_of(*quantize_grouped(module.weight, width), 32))
        results[width] = perplexity(clone, tokens, model.config.block_size)
    return results
