"""Rounds halves away from zero, as taught at school. What does that do to the mean of the absolute values?"""

# caught by: test_ties_go_to_the_even_code
# says: called quantize(w, ...), w = n + 1/2 steps ... expected code -100: half-way goes to the even neighbour

import torch


def symmetric_scale(w, bits=8):
    check(w, bits)
    largest = w.float().abs().max()
    return torch.where(largest > 0, largest / (2 ** (bits - 1) - 1), 1.0)


def quantize(w, scale, bits=8):
    check(w, bits)
    qmax = 2 ** (bits - 1) - 1
    return (torch.sign(w.float()) * torch.floor(w.float().abs() / scale + 0.5)).clamp(-qmax, qmax).to(torch.int8)


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
