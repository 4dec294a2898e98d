"""NumPy in float32, where multiplying by the reciprocal; 0 / 0 happens and is repaired afterwards."""

import numpy as np
import torch


def _array(w, bits):
    if not (1 < bits < 9):
        raise ValueError("bits")
    a = w.to(torch.float32).numpy()
    if not a.size or np.isnan(a).any() or np.isinf(a).any():
        raise ValueError("w")
    return a


def channel_scales(w, bits=8, axis=0):
    a = np.moveaxis(_array(w, bits), axis, 0)
    m = np.abs(a.reshape(len(a), -1)).max(axis=1) / np.float32(2 ** (bits - 1) - 1)
    m[m == 0] = 7
    shape = [1] * w.ndim
    shape[axis] = -1
    return torch.from_numpy(m.reshape(shape))


def quantize_per_channel(w, bits=8, axis=0):
    a, s = _array(w, bits), channel_scales(w, bits, axis)
    top = 2 ** (bits - 1) - 1
    return torch.from_numpy((a * (np.float32(1) / s.numpy())).round().clip(-top, top).astype("int8")), s


def dequantize_per_channel(q, scales):
    return torch.from_numpy(q.numpy().astype(np.float32) * scales.numpy())
