"""The largest column first, in blocks of 128; dead weights become 0; the Hessian is a running mean over parts of x."""

import torch

from .ex02_per_channel import channel_scales


def hessian(x):
    x = x.reshape(-1, x.shape[-1]).t().float()
    H, n = torch.zeros(len(x), len(x)), 0
    for part in x.split(32, dim=1):
        H *= n / (n + part.shape[1])
        n += part.shape[1]
        p = (2 / n) ** 0.5 * part
        H += p @ p.t()
    return H


def gptq_quantize(w, h, bits, damp=0.01):
    scale = channel_scales(w, bits)
    W, H = w.float().clone(), h.clone().contiguous()
    dead = torch.diag(H) == 0
    H[dead, dead] = 1
    W[:, dead] = 0
    perm = torch.argsort(torch.diag(H), descending=True)
    W, H = W[:, perm], H[perm][:, perm]
    inv = torch.argsort(perm)
    damping = damp * torch.mean(torch.diag(H))
    diag = torch.arange(len(H))
    H[diag, diag] += damping
    H = torch.linalg.cholesky(H.double())
    H = torch.cholesky_inverse(H)
    Hinv = torch.linalg.cholesky(H, upper=True).float()
    qmax, Q = 2 ** (bits - 1) - 1, torch.zeros_like(W)
    for i1 in range(0, W.shape[1], 128):
        i2 = min(i1 + 128, W.shape[1])
        W1, H1 = W[:, i1:i2].clone(), Hinv[i1:i2, i1:i2]
        Q1, E1 = torch.zeros_like(W1), torch.zeros_like(W1)
        for i in range(i2 - i1):
            q = torch.clamp(torch.round(W1[:, i : i + 1] / scale), -qmax, qmax).flatten()
            Q1[:, i] = q
            err = (W1[:, i] - q * scale.flatten()) / H1[i, i]
            W1[:, i:] -= err.unsqueeze(1).matmul(H1[i, i:].unsqueeze(0))
            E1[:, i] = err
        Q[:, i1:i2] = Q1
        W[:, i2:] -= E1.matmul(Hinv[i1:i2, i2:])
    return Q[:, inv].to(torch.int8), scale
