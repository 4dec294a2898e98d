"""NumPy with BLAS: the product in float64, everything else in float64 too."""

import numpy as np
import torch


def quantize_tokens(x):
    a = x.float().numpy().astype(np.float64)
    s = np.max(np.abs(a), axis=-1, keepdims=True) / 127
    s[s == 0] = 1
    return torch.tensor(np.rint(a / s), dtype=torch.int8), torch.tensor(s, dtype=torch.float32)


def int8_product(xq, wq):
    return torch.tensor(np.dot(xq.numpy().astype(np.float64), wq.numpy().astype(np.float64).T), dtype=torch.int32)


def int8_matmul(x, wq, w_scales, bias=None):
    q, s = quantize_tokens(x)
    y = int8_product(q, wq).numpy() * (s.numpy().astype(np.float64) * w_scales.numpy().astype(np.float64).reshape(-1))
    if bias is not None:
        y = y + bias.numpy()
    return torch.tensor(y, dtype=torch.float32)
