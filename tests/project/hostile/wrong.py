"""Rounds down: wrong, and nothing worse."""

# earns: 4
# state: failed
# says: matches an answer that rounds down

import torch


def symmetric_scale(w, bits=8):
    w = torch.as_tensor(w).float()
    if not 2 <= bits <= 8 or w.numel() == 0 or not w.isfinite().all():
        raise ValueError("w or bits")
    largest = w.abs().max()
    return torch.where(largest > 0, largest / (2 ** (bits - 1) - 1), 1.0)


def quantize(w, scale, bits=8):
    w = torch.as_tensor(w).float()
    if not 2 <= bits <= 8 or w.numel() == 0 or not w.isfinite().all():
        raise ValueError("w or bits")
    qmax = 2 ** (bits - 1) - 1
    return (w / scale).floor().clamp(-qmax, qmax).to(torch.int8)


def dequantize(q, scale):
    return q.float() * scale


def round_trip(w, bits=8):
    scale = symmetric_scale(w, bits)
    return dequantize(quantize(w, scale, bits), scale)

