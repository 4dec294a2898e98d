"""Lazy to the end: a column is corrected when its turn comes, by all errors before it in one product."""

import torch

from .ex02_per_channel import channel_scales


def hessian(x):
    x = x.float().reshape(-1, x.shape[-1])
    return torch.mm(x.mT, x).mul(2).div(x.shape[0])


def gptq_quantize(w, h, bits, damp=0.01):
    scales = channel_scales(w, bits)
    top = 2 ** (bits - 1) - 1
    h = h.double().clone()
    dead = h.diagonal() == 0
    h[dead, dead] = 1
    h = h + torch.eye(len(h)) * (damp * h.diagonal().mean())
    u = torch.linalg.cholesky(torch.cholesky_inverse(torch.linalg.cholesky(h)), upper=True).float()
    w, steps = w.float().t().contiguous(), scales[:, 0]
    errors, q = torch.zeros_like(w), torch.zeros_like(w, dtype=torch.int8)
    for k, column in enumerate(w):
        moved = column - u[:k, k] @ errors[:k]
        code = (moved / steps).round().clamp(-top, top)
        q[k] = code.to(torch.int8)
        errors[k] = (moved - code * steps) / u[k, k]
    return q.t().contiguous(), scales
