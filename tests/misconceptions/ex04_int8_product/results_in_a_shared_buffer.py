"""Writes the results of every call into the same tensor. What is left of the result of the call before?"""

# caught by: test_answers_depend_on_values_alone
# says: called int8_matmul(x, wq, w_scales, bias), call 1 of 3, looked at when all calls were made got ... expected

import torch

buffers = {}


def quantize_tokens(x):
    x = x.float()
    largest = x.abs().amax(dim=-1, keepdim=True)
    scales = torch.where(largest > 0, largest / 127, 1.0)
    return torch.round(x / scales).clamp(-127, 127).to(torch.int8), scales


def int8_product(xq, wq):
    return (xq.double() @ wq.double().t()).to(torch.int32)


def int8_matmul(x, wq, w_scales, bias=None):
    xq, x_scales = quantize_tokens(x)
    y = int8_product(xq, wq).float() * x_scales * w_scales.flatten()
    y = y if bias is None else y + bias
    return buffers.setdefault(y.shape, torch.empty(y.shape)).copy_(y)
