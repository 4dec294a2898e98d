"""float32 throughout: x and the errors are divided by their largest value before anything is summed or squared."""

import torch

from .ex01_round_trip import round_trip


def output_error(w, x, bits=8):
    e, x = round_trip(w, bits) - w.float(), x.float()
    units = [float(t.abs().max()) or 1.0 for t in (e, x)]
    error = (e / units[0]) @ (x / units[1])
    return error.square().mean().sqrt().item() * units[0] * units[1]


def typical_error(n, scale, x_rms):
    return float(scale) * (float(n) / 12) ** 0.5 * float(x_rms)


def worst_case_error(n, scale, x_max):
    return float(x_max) * (float(scale) / 2) * n
