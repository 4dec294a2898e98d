"""NumPy in float32 throughout, np.rint, and the scale returned as a NumPy number."""

import numpy as np
import torch


def _array(w, bits):
    if bits not in range(2, 9):
        raise ValueError("bits")
    a = w.detach().to(torch.float32).numpy()
    if a.size == 0 or not np.isfinite(a).all():
        raise ValueError("w")
    return a


def symmetric_scale(w, bits=8):
    m = np.abs(_array(w, bits)).max()
    return np.float32(m / np.float32(2 ** (bits - 1) - 1)) if m > 0 else np.float32(1)


def quantize(w, scale, bits=8):
    a, top = _array(w, bits), 2 ** (bits - 1) - 1
    q = np.clip(np.rint(a / np.float32(scale)), -top, top).astype(np.int8)
    return torch.from_numpy(np.ascontiguousarray(q)).reshape(w.shape)


def dequantize(q, scale):
    return torch.from_numpy(np.asarray(q.numpy().astype(np.float32) * np.float32(scale))).reshape(q.shape)


def round_trip(w, bits=8):
    s = symmetric_scale(w, bits)
    return dequantize(quantize(w, s, bits), s)
