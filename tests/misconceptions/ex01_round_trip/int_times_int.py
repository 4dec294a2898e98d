"""Multiplies codes by the scale as they are. What is the dtype of an int8 tensor times a whole number?"""

# caught by: test_codes_times_scale_is_the_way_back
# says: called dequantize(q, 2), q has all codes from -127 to 127 ... expected a float32 tensor of shape (... 51)

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
    return q * scale


def round_trip(w, bits=8):
    scale = symmetric_scale(w, bits)
    return dequantize(quantize(w, scale, bits), scale)


def check(w, bits):
    if not 2 <= bits <= 8:
        raise ValueError("bits must be 2 to 8")
    if w.numel() == 0 or not torch.isfinite(w).all():
        raise ValueError("w is empty or not finite")
