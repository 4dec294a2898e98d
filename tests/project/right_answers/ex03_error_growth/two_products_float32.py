"""Subtracts two float32 products: the rounding of float32 stays far below 1 % of the error."""

import torch
from torch.nn import functional as F

from .ex01_round_trip import round_trip


def output_error(w, x, bits=8):
    y, exact = F.linear(x.float(), round_trip(w, bits)), F.linear(x.float(), w.float())
    return F.mse_loss(y, exact) ** 0.5


def typical_error(n, scale, x_rms):
    return (n * (scale**2 / 12) * x_rms**2) ** 0.5


def worst_case_error(n, scale, x_max):
    return x_max * (scale * 0.5) * n
