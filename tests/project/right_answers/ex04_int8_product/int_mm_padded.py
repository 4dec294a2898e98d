"""torch._int_mm with every axis padded with zeros to a multiple of 32."""

import torch
from torch.nn import functional as F


def quantize_tokens(x):
    x = x.float()
    largest = torch.max(x.amax(-1, keepdim=True), -x.amin(-1, keepdim=True))
    scales = torch.where(largest > 0, largest * (1 / 127), torch.ones_like(largest))
    return torch.clamp(torch.round(x / scales), -127, 127).to(torch.int8), scales


def _padded(t):
    return F.pad(t, (0, -t.shape[1] % 32, 0, max(32, t.shape[0] + -t.shape[0] % 32) - t.shape[0])).contiguous()


def int8_product(xq, wq):
    rows = xq.reshape(-1, xq.shape[-1])
    y = torch._int_mm(_padded(rows), _padded(wq).t())
    return y[: rows.shape[0], : wq.shape[0]].reshape(*xq.shape[:-1], wq.shape[0])


def int8_matmul(x, wq, w_scales, bias=None):
    q, s = quantize_tokens(x)
    y = int8_product(q, wq).float() * s * w_scales[:, 0]
    return y + (0 if bias is None else bias)
