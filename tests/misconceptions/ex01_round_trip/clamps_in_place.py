"""Clamps w in place, for speed. What becomes of the caller's w?"""

# caught by: test_any_tensor_of_finite_numbers_will_do
# says: called quantize(w, ..., bits=8), w reaches beyond the grid ... expected the argument as it was

import torch


def symmetric_scale(w, bits=8):
    check(w, bits)
    largest = w.float().abs().max()
    return torch.where(largest > 0, largest / (2 ** (bits - 1) - 1), 1.0)


def quantize(w, scale, bits=8):
    check(w, bits)
    qmax = 2 ** (bits - 1) - 1
    return w.float().clamp_(-qmax * scale, qmax * scale).div(scale).round().to(torch.int8)


def dequantize(q, scale):
    return q.float() * scale


def round_trip(w, bits=8):
    scale = symmetric_scale(w, bits)
    return dequantize(quantize(w, scale, bits), scale)


def check(w, bits):
    if not 2 <= bits <= 8:
        raise ValueError("bits must be 2 to 8")
    if w.numel() == 0 or not torch.isfinite(w).all():
        raise ValueError("w is empty or not finite")
