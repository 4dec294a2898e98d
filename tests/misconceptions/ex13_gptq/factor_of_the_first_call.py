"""Keeps the factor of a Hessian for the next call with the same tensor. What if other values are in it by then?"""

# caught by: test_correlated_columns_make_up_for_errors
# says: called gptq_quantize(w, h, 4), call 2 of 2, with the same tensor, in which other values were written

import torch
from torch import Tensor

from .ex02_per_channel import channel_scales


def hessian(x: Tensor) -> Tensor:
    x = x.float().reshape(-1, x.shape[-1])
    return 2 / len(x) * x.t() @ x


def gptq_quantize(w: Tensor, h: Tensor, bits: int, damp: float = 0.01) -> tuple[Tensor, Tensor]:
    scales = channel_scales(w, bits)
    qmax, upper = 2 ** (bits - 1) - 1, _upper_factor_of_inverse(h, damp)
    w, step = w.float().t().clone(memory_format=torch.contiguous_format), scales[:, 0]
    q = torch.empty_like(w)
    for k in range(len(w)):
        q[k] = (w[k] / step).round().clamp(-qmax, qmax)
        error = (w[k] - q[k] * step) / upper[k, k]
        w[k:] -= upper[k, k:, None] * error
    return q.t().to(torch.int8).contiguous(), scales


FACTORS = {}


def _upper_factor_of_inverse(h: Tensor, damp: float) -> Tensor:
    if id(h) not in FACTORS:
        FACTORS[id(h)] = h, _compute(h, damp)  # kept, so that no id is used twice
    return FACTORS[id(h)][1]


def _compute(h: Tensor, damp: float) -> Tensor:
    h = h.double().clone()
    h.diagonal()[h.diagonal() == 0] = 1
    h.diagonal().add_(damp * h.diagonal().mean())
    inverse = torch.cholesky_inverse(torch.linalg.cholesky(h))
    return torch.linalg.cholesky(inverse, upper=True).float()
