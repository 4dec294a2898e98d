"""Damps by the largest entry of the diagonal, not by the mean. What does one large feature do to the others?"""

# caught by: test_damping_is_what_the_call_says
# says: called gptq_quantize(w, h, 4, damp=5), 8 of 256 columns large and alike

import copy

import torch
from torch import Tensor, nn

from .ex02_per_channel import channel_scales, dequantize_per_channel, quantize_per_channel
from .ex06_perplexity import drift, perplexity

BLOCK = 128


def hessian(x: Tensor) -> Tensor:
    x = x.float().reshape(-1, x.shape[-1])
    return 2 / len(x) * x.t() @ x


def gptq_quantize(w: Tensor, h: Tensor, bits: int, damp: float = 0.01) -> tuple[Tensor, Tensor]:
    scales = channel_scales(w, bits)
    qmax, upper = 2 ** (bits - 1) - 1, _upper_factor_of_inverse(h, damp)
    w, step = w.float().t().clone(memory_format=torch.contiguous_format), scales.t()
    q = torch.empty_like(w)
    for start in range(0, len(w), BLOCK):
        stop = min(start + BLOCK, len(w))
        errors = torch.empty_like(w[start:stop])
        for k in range(start, stop):
            q[k] = (w[k] / step).round().clamp(-qmax, qmax)
            errors[k - start] = e = (w[k] - q[k] * step[0]) / upper[k, k]
            w[k:stop] -= upper[k, k:stop, None] * e
        w[stop:] -= upper[start:stop, stop:].t() @ errors
    return q.t().to(torch.int8).contiguous(), scales


def _upper_factor_of_inverse(h: Tensor, damp: float) -> Tensor:
    h = h.double().clone()
    h.diagonal()[h.diagonal() == 0] = 1
    h.diagonal().add_(damp * h.diagonal().max())
    inverse = torch.cholesky_inverse(torch.linalg.cholesky(h))
    return torch.linalg.cholesky(inverse, upper=True).float()
