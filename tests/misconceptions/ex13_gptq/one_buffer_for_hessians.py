"""Adds up products in a tensor that it keeps. Which tokens are in it at the second call?"""

# caught by: test_the_hessian_is_twice_the_mean_of_products
# says: called hessian(x), x ... got ... differ) expected ... X^T X / n

import torch
from torch import Tensor

from .ex02_per_channel import channel_scales

TOTAL: dict[int, Tensor] = {}


def hessian(x: Tensor) -> Tensor:
    x = x.float().reshape(-1, x.shape[-1])
    K = x.shape[1]
    if K not in TOTAL:
        TOTAL[K] = torch.zeros(K, K)
    TOTAL[K] += 2 / len(x) * x.t() @ x
    return TOTAL[K]


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


def _upper_factor_of_inverse(h: Tensor, damp: float) -> Tensor:
    h = h.double().clone()
    h.diagonal()[h.diagonal() == 0] = 1
    h.diagonal().add_(damp * h.diagonal().mean())
    inverse = torch.cholesky_inverse(torch.linalg.cholesky(h))
    return torch.linalg.cholesky(inverse, upper=True).float()
