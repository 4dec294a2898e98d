"""Calls the parameter n_bits. By which names may a caller pass arguments?"""

# caught by: test_the_largest_weight_lands_on_the_last_code
# says: called symmetric_scale(float32 (... 48), bits... raised TypeError: symmetric_scale() got an unexpected keyword

import torch


def symmetric_scale(w, n_bits=8):
    bits = n_bits
    check(w, bits)
    largest = w.float().abs().max()
    return torch.where(largest > 0, largest / (2 ** (bits - 1) - 1), 1.0)


def quantize(w, scale, n_bits=8):
    bits = n_bits
    check(w, bits)
    qmax = 2 ** (bits - 1) - 1
    return torch.round(w.float() / scale).clamp(-qmax, qmax).to(torch.int8)


def dequantize(q, scale):
    return q.float() * scale


def round_trip(w, n_bits=8):
    bits = n_bits
    scale = symmetric_scale(w, bits)
    return dequantize(quantize(w, scale, bits), scale)


def check(w, bits):
    if not 2 <= bits <= 8:
        raise ValueError("bits must be 2 to 8")
    if w.numel() == 0 or not torch.isfinite(w).all():
        raise ValueError("w is empty or not finite")
