"""Turns the channel scales into a row by transposing them. How many axes does the result of one token have?"""

# caught by: test_matmul_scales_the_integer_sum_and_adds_the_bias
# says: called int8_matmul(x, wq, w_scales, None), x... expected a float32 tensor of shape (...)

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
    y = int8_product(xq, wq).float() * x_scales * w_scales.t()
    return y if bias is None else y + bias
