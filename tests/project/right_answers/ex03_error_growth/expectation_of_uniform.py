"""inference_mode, torch.hypot-free norm, and typical_error from the variance of torch's uniform distribution."""

import math

import torch

from .ex01_round_trip import round_trip


@torch.inference_mode()
def output_error(w, x, bits=8):
    error = round_trip(w, bits).sub(w.float()).matmul(x.float().unsqueeze(-1)).squeeze(-1)
    return error.double().norm() / math.sqrt(error.numel())


def typical_error(n, scale, x_rms):
    half = torch.as_tensor(scale, dtype=torch.float64) / 2
    variance = torch.distributions.Uniform(-half, half).variance
    return math.sqrt(n * float(variance) * float(x_rms) ** 2)


def worst_case_error(n, scale, x_max):
    return float(n) * (float(scale) / 2.0) * float(x_max)
