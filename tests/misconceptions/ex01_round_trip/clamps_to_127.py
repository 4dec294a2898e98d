"""Clamps to the range of 8 bits at every width. Which codes does a narrower grid have?"""

# caught by: test_codes_stay_on_the_grid
# says: called quantize(w, ..., bits=7), w reaches beyond the grid ... expected code ... the nearest in [... 63]

import torch


def symmetric_scale(w, bits=8):
    check(w, bits)
    largest = w.float().abs().max()
    return torch.where(largest > 0, largest / (2 ** (bits - 1) - 1), 1.0)


def quantize(w, scale, bits=8):
    check(w, bits)
    qmax = 2 ** (bits - 1) - 1
    return torch.round(w.float() / scale).clamp(-127, 127).to(torch.int8)


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
