"""Subtracts two products, both in float64, instead of multiplying the difference; 0-dim float64 tensors come back."""

import torch

from .ex01_round_trip import dequantize, quantize, symmetric_scale


def output_error(w, x, bits=8):
    s = symmetric_scale(w, bits)
    back = dequantize(quantize(w, s, bits), s)
    x = x.double()
    d = torch.mv(back.double(), x) - torch.mv(w.float().double(), x)
    return torch.linalg.vector_norm(d) / len(d) ** 0.5


def typical_error(n, scale, x_rms):
    return (
        torch.as_tensor(scale).double()
        * torch.as_tensor(x_rms).double()
        * (torch.tensor(n / 12.0, dtype=torch.float64)) ** 0.5
    )


def worst_case_error(n, scale, x_max):
    return torch.as_tensor(x_max) * n * torch.as_tensor(scale) / 2
