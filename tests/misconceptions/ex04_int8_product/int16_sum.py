"""Multiplies in int16. How large can a sum of products get?"""

# caught by: test_sums_of_code_products_are_exact
# says: called int8_product(xq, wq), ... K = 3 ... got ... expected

import torch


def quantize_tokens(x):
    x = x.float()
    largest = x.abs().amax(dim=-1, keepdim=True)
    scales = torch.where(largest > 0, largest / 127, 1.0)
    return torch.round(x / scales).clamp(-127, 127).to(torch.int8), scales


def int8_product(xq, wq):
    return (xq.short().unsqueeze(-2) * wq.short()).sum(-1, dtype=torch.int16).to(torch.int32)


def int8_matmul(x, wq, w_scales, bias=None):
    xq, x_scales = quantize_tokens(x)
    y = int8_product(xq, wq).float() * x_scales * w_scales.flatten()
    return y if bias is None else y + bias
