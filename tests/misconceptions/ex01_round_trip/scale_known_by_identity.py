"""Keeps the scale of a tensor that it has seen before. What if other values were written into that tensor?"""

# caught by: test_any_tensor_of_finite_numbers_will_do
# says: called symmetric_scale(w, 4), call 2 of 3, with the same tensor ... got ... expected

from functools import cache

import torch


@cache
def symmetric_scale(w, bits=8):
    check(w, bits)
    largest = w.float().abs().max()
    return torch.where(largest > 0, largest / (2 ** (bits - 1) - 1), 1.0)


def quantize(w, scale, bits=8):
    check(w, bits)
    qmax = 2 ** (bits - 1) - 1
    return torch.round(w.float() / scale).clamp(-qmax, qmax).to(torch.int8)


def dequantize(q, scale):
    return q.float() * scale


def round_trip(w, bits=8):
    scale = symmetric_scale(w, bits)
    return dequantize(quantize(w, scale, bits), scale)


def check(w, bits):
    if not 2 <= bits <= 8 or w.numel() == 0 or not torch.isfinite(w).all():
        raise ValueError
