"""einsum in float64; the root mean square from the variance and the mean."""

import torch

from .ex01_round_trip import quantize, symmetric_scale


def output_error(w, x, bits=8):
    s = symmetric_scale(w, bits)
    residue = quantize(w, s, bits).float() - w.float() / s
    e = torch.einsum("rn,n->r", residue.double(), x.double())
    return s * (e.var(correction=0) + e.mean() ** 2).sqrt()


def typical_error(n, scale, x_rms):
    return scale * x_rms / 12**0.5 * n**0.5


def worst_case_error(n, scale, x_max):
    return n * (scale * x_max) / 2
