"""The columns with the largest diagonal first, in double precision, and the codes put back into their order."""

import torch

from .ex02_per_channel import channel_scales


def hessian(x):
    tokens = x.reshape(-1, x.shape[-1]).double()
    return (torch.einsum("tk,tl->kl", tokens, tokens) * 2 / len(tokens)).float()


def gptq_quantize(w, h, bits, damp=0.01):
    scales = channel_scales(w, bits)
    step, qmax = scales.double(), 2 ** (bits - 1) - 1
    order = h.diagonal().argsort(descending=True)
    h = h.double()[order][:, order]
    h[h.diagonal() == 0, h.diagonal() == 0] = 1
    h += damp * h.diagonal().mean() * torch.eye(len(h))
    u = torch.linalg.cholesky(torch.linalg.inv(h), upper=True)
    left = w.double()[:, order].contiguous()
    codes = []
    for start in range(0, len(h), 64):
        stop = start + 64
        block, inner = left[:, start:stop], u[start:stop, start:stop]
        errors = torch.zeros_like(block)
        for k in range(block.shape[1]):
            code = (block[:, k : k + 1] / step).round().clamp(-qmax, qmax)
            errors[:, k : k + 1] = (block[:, k : k + 1] - code * step) / inner[k, k]
            block[:, k:] -= errors[:, k : k + 1] * inner[k, k:]
            codes.append(code)
        left[:, stop:] -= errors @ u[start:stop, stop:]
    q = torch.empty_like(w, dtype=torch.int8)
    q[:, order] = torch.cat(codes, dim=1).to(torch.int8)
    return q, scales
