"""Writes all codes into the same tensor. What happens to those of the call before?"""

# caught by: test_correlated_columns_make_up_for_errors
# says: called gptq_quantize(w, h, 4), call 1 of 2, looked at when all calls were made

import torch
from torch import Tensor

from .ex02_per_channel import channel_scales


def hessian(x: Tensor) -> Tensor:
    x = x.float().reshape(-1, x.shape[-1])
    return 2 / len(x) * x.t() @ x


CODES = torch.empty(1 << 22, dtype=torch.int8)


def gptq_quantize(w: Tensor, h: Tensor, bits: int, damp: float = 0.01) -> tuple[Tensor, Tensor]:
    scales = channel_scales(w, bits)
    qmax, upper = 2 ** (bits - 1) - 1, _upper_factor_of_inverse(h, damp)
    w, step = w.float().t().clone(memory_format=torch.contiguous_format), scales[:, 0]
    q = torch.empty_like(w)
    for k in range(len(w)):
        q[k] = (w[k] / step).round().clamp(-qmax, qmax)
        error = (w[k] - q[k] * step) / upper[k, k]
        w[k:] -= upper[k, k:, None] * error
    return CODES[: q.numel()].view(q.t().shape).copy_(q.t()), scales


def _upper_factor_of_inverse(h: Tensor, damp: float) -> Tensor:
    h = h.double().clone()
    h.diagonal()[h.diagonal() == 0] = 1
    h.diagonal().add_(damp * h.diagonal().mean())
    inverse = torch.cholesky_inverse(torch.linalg.cholesky(h))
    return torch.linalg.cholesky(inverse, upper=True).float()
