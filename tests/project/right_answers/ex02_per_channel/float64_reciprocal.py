"""Multiplies by reciprocals in float64; results are transposed in memory."""

import torch


def _scales(w, bits, axis):
    if bits not in (2, 3, 4, 5, 6, 7, 8) or 0 in w.shape or not w.isfinite().all():
        raise ValueError("w or bits")
    moved = w.float().double().movedim(axis, 0).reshape(w.shape[axis], -1)
    m = moved.abs().sort(dim=1).values[:, -1]
    s = torch.where(m > 0, m, 1.0) / (2 ** (bits - 1) - 1)
    return s.view([-1 if d == axis % w.ndim else 1 for d in range(w.ndim)])


def channel_scales(w, bits=8, axis=0):
    return _scales(w, bits, axis).float()


def quantize_per_channel(w, bits=8, axis=0):
    s, last = _scales(w, bits, axis), 2 ** (bits - 1) - 1
    q = (w.float().double() * s.reciprocal()).round_().clamp_(-last, last).to(torch.int8)
    return q.transpose(0, -1).contiguous().transpose(0, -1), s.float()


def dequantize_per_channel(q, scales):
    return (q.transpose(0, -1).double() * scales.transpose(0, -1).double()).float().transpose(0, -1)
