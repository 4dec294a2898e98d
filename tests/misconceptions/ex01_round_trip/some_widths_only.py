"""Raises an error for a few wrong widths only. Which other widths does the contract not allow?"""

# caught by: test_what_cannot_be_quantized_is_a_value_error
# says: called symmetric_scale(w, bits), bits=... which is not 2 to 8 ... expected a ValueError

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
    scale = symmetric_scale(w, bits)
    return dequantize(quantize(w, scale, bits), scale)


def check(w, bits):
    if bits < 2 or bits in (9, 16, 32):
        raise ValueError("bits must be 2 to 8")
    if w.numel() == 0 or not torch.isfinite(w).all():
        raise ValueError("w is empty or not finite")
