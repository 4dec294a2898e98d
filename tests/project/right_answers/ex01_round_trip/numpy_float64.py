"""NumPy in float64 after the one conversion to float32; results are cast at the very end."""

import numpy as np
import torch


class BadInput(ValueError):
    pass


def _array(w, bits):
    a = w.float().numpy().astype(np.float64)
    if a.size == 0 or not np.all(np.isfinite(a)) or bits < 2 or bits > 8:
        raise BadInput("cannot be quantized")
    return a, (1 << (bits - 1)) - 1


def _step(w, bits):
    a, top = _array(w, bits)
    return np.max(np.abs(a)) / top or 1e-3


def symmetric_scale(w, bits=8):
    return torch.tensor(_step(w, bits), dtype=torch.float32)


def quantize(w, scale, bits=8):
    a, top = _array(w, bits)
    return torch.tensor(np.clip(np.round(a / float(scale)), -top, top), dtype=torch.int8)


def dequantize(q, scale):
    return torch.tensor(q.numpy() * np.float64(scale), dtype=torch.float32)


def round_trip(w, bits=8):
    a, top = _array(w, bits)
    s = _step(w, bits)
    return torch.tensor(np.clip(np.round(a / s), -top, top) * s, dtype=torch.float32)
