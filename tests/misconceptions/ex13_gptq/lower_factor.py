"""Takes the lower factor, transposed. Which of the two triangles belongs to the columns that come later?"""

# caught by: test_correlated_columns_make_up_for_errors
# says: called gptq_quantize(w, h, ... w ... columns correlated ... expected at most ... (round to nearest: ... GPTQ:

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
    h.diagonal().add_(damp * h.diagonal().mean())
    inverse = torch.cholesky_inverse(torch.linalg.cholesky(h))
    return torch.linalg.cholesky(inverse.flip(0, 1)).flip(0, 1).float()
