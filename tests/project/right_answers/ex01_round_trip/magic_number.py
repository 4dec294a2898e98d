"""Rounds by adding and subtracting 1.5 * 2**23 in float32, after clamping instead of before."""

import torch

MAGIC = 12582912.0


def _ok(w, bits):
    if bits not in (2, 3, 4, 5, 6, 7, 8):
        raise ValueError
    if w.numel() == 0 or (w.float() - w.float()).abs().max() != 0:
        raise ValueError
    return 127 >> (8 - bits)


def symmetric_scale(w, bits=8):
    q = _ok(w, bits)
    m = torch.amax(torch.abs(w.to(torch.float)))
    return torch.div(m, q).masked_fill(m == 0, 1.0)


def quantize(w, scale, bits=8):
    q = _ok(w, bits)
    x = torch.clamp(w.to(torch.float) / scale, -q, q)
    return ((x + MAGIC) - MAGIC).to(torch.int16).to(torch.int8)


def dequantize(q, scale):
    return q * torch.as_tensor(scale, dtype=torch.float32)


def round_trip(w, bits=8):
    s = symmetric_scale(w, bits)
    return dequantize(quantize(w, s, bits), s)
