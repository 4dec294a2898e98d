"""Computes scales in the precision that the tokens came in. How many digits does half precision keep?"""

# caught by: test_tokens_of_any_float_dtype_will_do
# says: called quantize_tokens(x), float16 -> scales ... expected scale

import torch


def quantize_tokens(x):
    largest = x.abs().amax(dim=-1, keepdim=True)
    scales = torch.where(largest > 0, largest / 127, 1.0)
    scales = scales.float()
    return torch.round(x / scales).clamp(-127, 127).to(torch.int8), scales


def int8_product(xq, wq):
    return (xq.double() @ wq.double().t()).to(torch.int32)


def int8_matmul(x, wq, w_scales, bias=None):
    xq, x_scales = quantize_tokens(x)
    y = int8_product(xq, wq).float() * x_scales * w_scales.flatten()
    return y if bias is None else y + bias
