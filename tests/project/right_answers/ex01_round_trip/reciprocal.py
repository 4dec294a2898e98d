"""Multiplies by 1 / scale in float32, and gets the scale by multiplying with 1 / qmax."""

import torch


def _checked(w, bits):
    if bits < 2 or bits > 8 or w.numel() == 0 or not bool(torch.isfinite(w.float()).all()):
        raise ValueError
    return w.float()


def symmetric_scale(w, bits=8):
    w = _checked(w, bits)
    m = torch.maximum(w.max(), -w.min())
    s = m * torch.tensor(1.0 / (2 ** (bits - 1) - 1))
    return s if s > 0 else torch.ones(())


def quantize(w, scale, bits=8):
    w = _checked(w, bits)
    top = 2 ** (bits - 1) - 1
    inverse = 1.0 / torch.as_tensor(scale, dtype=torch.float32)
    return torch.clamp(torch.round(w * inverse), min=-top, max=top).char()


def dequantize(q, scale):
    return torch.mul(q.to(torch.float32), torch.as_tensor(scale, dtype=torch.float32))


def round_trip(w, bits=8):
    s = symmetric_scale(w, bits)
    inverse = 1.0 / s
    top = 2 ** (bits - 1) - 1
    return (w.float() * inverse).round().clamp(-top, top) * s
