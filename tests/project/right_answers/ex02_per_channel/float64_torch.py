"""torch in float64; codes come from the float64 scale, the returned scale is its cast; a NamedTuple is returned."""

from typing import NamedTuple

import torch


class Quantized(NamedTuple):
    q: torch.Tensor
    scales: torch.Tensor


def _double(w, bits):
    if bits < 2 or bits > 8 or w.numel() == 0 or not torch.isfinite(w).all():
        raise ValueError("cannot")
    return w.float().double()


def _scales(w, bits, axis):
    w = _double(w, bits)
    dims = set(range(w.dim())) - {axis if axis >= 0 else w.dim() + axis}
    m = w.abs()
    for d in dims:
        m = m.max(dim=d, keepdim=True).values
    m = m / (2 ** (bits - 1) - 1)
    return m + (m == 0)


def channel_scales(w, bits=8, axis=0):
    return _scales(w, bits, axis).float()


def quantize_per_channel(w, bits=8, axis=0):
    s = _scales(w, bits, axis)
    top = 2 ** (bits - 1) - 1
    return Quantized(torch.clamp(torch.round(_double(w, bits) / s), -top, top).to(torch.int8), s.float())


def dequantize_per_channel(q, scales):
    return (q.double() * scales.double()).to(torch.float32)
