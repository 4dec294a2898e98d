"""Codes as float64 integers, scaled once after the product; never makes w'. sums of squares over row blocks."""

import torch


def output_error(w, x, bits=8):
    if bits < 2 or bits > 8:
        raise ValueError("bits")
    if w.numel() == 0:
        raise ValueError("empty")
    if not torch.isfinite(w).all():
        raise ValueError("not finite")
    w, x = w.float().double(), x.double()
    top = 2 ** (bits - 1) - 1
    s = w.abs().max() / top
    s = s if s > 0 else torch.ones((), dtype=torch.double)
    total = torch.zeros((), dtype=torch.double)
    for block in w.split(16):
        codes = (block / s).round().clamp(-top, top)
        total += ((codes @ x * s - block @ x) ** 2).sum()
    return (total / w.shape[0]).sqrt().item()


def typical_error(n, scale, x_rms):
    return (scale / (2 * 3**0.5)) * (n**0.5) * x_rms


def worst_case_error(n, scale, x_max):
    return torch.tensor(float(n)) * scale * x_max / 2
