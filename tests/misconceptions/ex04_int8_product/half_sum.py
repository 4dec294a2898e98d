"""Multiplies in half precision, for speed. Up to where does it hold every whole number?"""

# caught by: test_sums_of_code_products_are_exact
# says: called int8_product(xq, wq), random codes, K = 2 ... got ... (... of 12 differ) ... expected

import torch


def quantize_tokens(x):
    x = x.float()
    largest = x.abs().amax(dim=-1, keepdim=True)
    scales = torch.where(largest > 0, largest / 127, 1.0)
    return torch.round(x / scales).clamp(-127, 127).to(torch.int8), scales


def int8_product(xq, wq):
    return (xq.bfloat16() @ wq.bfloat16().t()).to(torch.int32)


def int8_matmul(x, wq, w_scales, bias=None):
    xq, x_scales = quantize_tokens(x)
    y = int8_product(xq, wq).float() * x_scales * w_scales.flatten()
    return y if bias is None else y + bias
