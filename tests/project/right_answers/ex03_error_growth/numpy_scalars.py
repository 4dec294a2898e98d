"""NumPy in float32 with NumPy numbers as results; the largest error is taken out before squaring."""

import numpy as np
import torch


def output_error(w, x, bits=8):
    if bits not in range(2, 9) or w.numel() == 0 or not torch.isfinite(w).all():
        raise ValueError("w or bits")
    a, v, top = w.float().numpy(), x.float().numpy(), np.float32(2 ** (bits - 1) - 1)
    s = np.abs(a).max() / top
    if s == 0:
        return np.float32(0)
    e = (np.rint(a / s).clip(-top, top) * s - a).dot(v)
    largest = np.abs(e).max()
    return largest * np.sqrt(np.mean(np.square(e / largest))) if largest else largest


def typical_error(n, scale, x_rms):
    return np.sqrt(np.float64(n)) * np.float64(scale) * np.float64(x_rms) / np.sqrt(12.0)


def worst_case_error(n, scale, x_max):
    return np.float64(n) * np.float64(scale) * np.float64(x_max) / np.float64(2)
