"""torch._int_mm as it is, on contiguous matrices; int32 matmul where its kernels add in 16 bits."""

import torch


def quantize_tokens(x):
    x = x.float()
    s = x.abs().amax(-1, keepdim=True) / 127
    s = torch.where(s > 0, s, 1.0)
    return (x / s).round().clamp(-127, 127).to(torch.int8), s


def int8_product(xq, wq):
    rows = xq.reshape(-1, xq.shape[-1]).contiguous()
    full = torch.full((4, 32), 127, dtype=torch.int8)
    if int(torch._int_mm(full, full.t())[0, 0]) == 32 * 127 * 127:
        y = torch._int_mm(rows, wq.contiguous().t())
    else:
        y = rows.int() @ wq.int().t()
    return y.reshape(xq.shape[:-1] + (wq.shape[0],))


def int8_matmul(x, wq, w_scales, bias=None):
    q, s = quantize_tokens(x)
    y = int8_product(q, wq) * s * w_scales.reshape(1, -1)[0]
    return y if bias is None else torch.add(y, bias)
