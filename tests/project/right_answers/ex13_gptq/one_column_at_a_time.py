"""Without blocks: the factor by inv and cholesky, and all later columns updated after each one."""

import torch

from .ex02_per_channel import channel_scales


def hessian(x):
    x = x.float().reshape(-1, x.shape[-1])
    return 2 * (x.T @ x) / x.shape[0]


def gptq_quantize(w, h, bits, damp=0.01):
    scales = channel_scales(w, bits)
    qmax = 2 ** (bits - 1) - 1
    h = h.to(torch.float64)
    diagonal = h.diagonal()
    h = h + torch.diag(torch.where(diagonal == 0, 1.0, 0.0).double())
    h = h + damp * h.diagonal().mean() * torch.eye(len(h), dtype=torch.float64)
    u = torch.linalg.cholesky(torch.linalg.inv(h), upper=True).float()
    w = w.float().clone()
    q = torch.zeros_like(w)
    for k in range(w.shape[1]):
        q[:, k] = (w[:, k] / scales[:, 0]).round().clamp(-qmax, qmax)
        error = (w[:, k] - q[:, k] * scales[:, 0]) / u[k, k]
        w[:, k + 1 :] -= torch.outer(error, u[k, k + 1 :])
    return q.to(torch.int8), scales
