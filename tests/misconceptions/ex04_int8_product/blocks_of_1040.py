"""Adds float32 sums of 1,040 terms in float32. Which sum is exact, and which is not?"""

# caught by: test_sums_of_code_products_are_exact
# says: called int8_product(xq, wq), codes of +... K = 1100 ... got ... (5 of 16 differ) ... expected

import torch


def quantize_tokens(x):
    x = x.float()
    largest = x.abs().amax(dim=-1, keepdim=True)
    scales = torch.where(largest > 0, largest / 127, 1.0)
    return torch.round(x / scales).clamp(-127, 127).to(torch.int8), scales


def int8_product(xq, wq):
    parts = [a.float() @ b.float().t() for a, b in zip(xq.split(1040, -1), wq.split(1040, -1))]
    return sum(parts).to(torch.int32)


def int8_matmul(x, wq, w_scales, bias=None):
    xq, x_scales = quantize_tokens(x)
    y = int8_product(xq, wq).float() * x_scales * w_scales.flatten()
    return y if bias is None else y + bias
