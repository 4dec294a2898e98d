"""Adds the bias to the integer sum and scales both. Is the bias measured in codes, or in the units of y?"""

# caught by: test_matmul_scales_the_integer_sum_and_adds_the_bias
# says: called int8_matmul(x, wq, w_scales, bias), x... expected ... within ..., integer sum * token scale * channel s

import torch


def quantize_tokens(x):
    x = x.float()
    largest = x.abs().amax(dim=-1, keepdim=True)
    scales = torch.where(largest > 0, largest / 127, 1.0)
    return torch.round(x / scales).clamp(-127, 127).to(torch.int8), scales


def int8_product(xq, wq):
    return (xq.double() @ wq.double().t()).to(torch.int32)


def int8_matmul(x, wq, w_scales, bias=None):
    xq, x_scales = quantize_tokens(x)
    y = int8_product(xq, wq).float() + (0 if bias is None else bias)
    return y * x_scales * w_scales.flatten()
