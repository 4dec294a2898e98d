"""Converts the codes of the weights only once for each tensor. What if other values were written into that tensor?"""

# caught by: test_answers_depend_on_values_alone
# says: called int8_product(xq, wq), call 2 of 3, with the same tensor ... got ... expected

from functools import cache

import torch


def quantize_tokens(x):
    x = x.float()
    largest = x.abs().amax(dim=-1, keepdim=True)
    scales = torch.where(largest > 0, largest / 127, 1.0)
    return torch.round(x / scales).clamp(-127, 127).to(torch.int8), scales


def int8_product(xq, wq):
    return (xq.double() @ converted(wq)).to(torch.int32)


@cache
def converted(wq):
    return wq.double().t()


def int8_matmul(x, wq, w_scales, bias=None):
    xq, x_scales = quantize_tokens(x)
    y = int8_product(xq, wq).float() * x_scales * w_scales.flatten()
    return y if bias is None else y + bias
