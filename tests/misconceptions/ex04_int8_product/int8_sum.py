"""Multiplies int8 by int8. What is 100 * 100 in int8?"""

# caught by: test_sums_of_code_products_are_exact
# says: called int8_product(xq, wq), random codes, K = 2 ... got ... (12 of 12 differ) ... expected

import torch


def quantize_tokens(x):
    x = x.float()
    largest = x.abs().amax(dim=-1, keepdim=True)
    scales = torch.where(largest > 0, largest / 127, 1.0)
    return torch.round(x / scales).clamp(-127, 127).to(torch.int8), scales


def int8_product(xq, wq):
    return (xq.unsqueeze(-2) * wq).sum(-1, dtype=torch.int32)


def int8_matmul(x, wq, w_scales, bias=None):
    xq, x_scales = quantize_tokens(x)
    y = int8_product(xq, wq).float() * x_scales * w_scales.flatten()
    return y if bias is None else y + bias
