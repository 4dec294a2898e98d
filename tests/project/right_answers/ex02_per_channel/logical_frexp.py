"""Normalizes each channel by a power of two first (frexp), so that all divisions are between numbers near 1."""

import torch


def channel_scales(w, bits=8, axis=0):
    if bits - 2 not in range(7) or w.numel() == 0 or not torch.isfinite(w).all():
        raise ValueError("no")
    other = tuple(d for d in range(w.dim()) if d != axis % w.dim())
    a = w.float().abs()
    m = a.amax(other, True) if other else a
    mantissa, exponent = torch.frexp(m)
    return torch.ldexp(mantissa / (2 ** (bits - 1) - 1), exponent).where(m > 0, torch.tensor(0.25))


def quantize_per_channel(w, bits=8, axis=0):
    s = channel_scales(w, bits, axis)
    mantissa, exponent = torch.frexp(s)
    x = torch.ldexp(w.float(), -exponent) / mantissa
    top = 2 ** (bits - 1) - 1
    return torch.round(x).clamp(-top, top).to(torch.int8), s


def dequantize_per_channel(q, scales):
    return torch.mul(q, scales)
