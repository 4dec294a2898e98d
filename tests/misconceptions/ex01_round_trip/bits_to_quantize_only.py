"""Passes bits on to quantize only. Which other function needs to know the last code?"""

# caught by: test_error_is_at_most_half_a_step
# says: called round_trip(w, bits=7), w = [...] ... expected at most ..., which is half a step, s / 2

import torch


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
    scale = symmetric_scale(w)
    return dequantize(quantize(w, scale, bits), scale)


def check(w, bits):
    if not 2 <= bits <= 8:
        raise ValueError("bits must be 2 to 8")
    if w.numel() == 0 or not torch.isfinite(w).all():
        raise ValueError("w is empty or not finite")
