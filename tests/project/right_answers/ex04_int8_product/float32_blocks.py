"""float32 products in blocks of 256 codes, summed in int32."""

import torch


def quantize_tokens(x):
    x = x.float()
    s = (x.abs().amax(dim=-1) / 127).unsqueeze(-1)
    s = torch.where(s > 0, s, 1.0)
    return torch.round(x / s).clamp(-127, 127).to(torch.int8), s


def int8_product(xq, wq):
    total = torch.zeros(*xq.shape[:-1], wq.shape[0], dtype=torch.int32)
    for start in range(0, xq.shape[-1], 256):
        total += (xq[..., start : start + 256].float() @ wq[:, start : start + 256].float().mT).int()
    return total


def int8_matmul(x, wq, w_scales, bias=None):
    q, s = quantize_tokens(x)
    y = int8_product(q, wq).to(torch.float32).mul(s).mul(w_scales.reshape(-1))
    return y.add(bias) if bias is not None else y
