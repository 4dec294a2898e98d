"""NumPy in float64 from w on, with a float64 scale; returns Python floats."""

import numpy as np


def output_error(w, x, bits=8):
    a = w.float().numpy().astype(np.float64)
    if not 2 <= bits <= 8 or a.size == 0 or not np.isfinite(a).all():
        raise ValueError("w or bits")
    top = 2 ** (bits - 1) - 1
    s = np.abs(a).max() / top or 1.0
    e = (np.clip(np.rint(a / s), -top, top) * s - a) @ x.float().numpy().astype(np.float64)
    return float(np.sqrt((e**2).mean()))


def typical_error(n, scale, x_rms):
    return float(scale) * np.sqrt(n / 12) * float(x_rms)


def worst_case_error(n, scale, x_max):
    return 0.5 * n * float(scale) * float(x_max)
