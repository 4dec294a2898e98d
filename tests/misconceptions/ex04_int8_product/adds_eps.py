"""Adds a fixed small number to each scale. How small may a token be?"""

# caught by: test_tokens_of_every_size_have_their_own_scale
# says: called quantize_tokens(x), tokens of size 1e-30 to 1e37 and zero -> scales ... expected scale

import torch


def quantize_tokens(x):
    x = x.float()
    largest = x.abs().amax(dim=-1, keepdim=True)
    scales = largest / 127 + 1e-8
    return torch.round(x / scales).clamp(-127, 127).to(torch.int8), scales


def int8_product(xq, wq):
    return (xq.double() @ wq.double().t()).to(torch.int32)


def int8_matmul(x, wq, w_scales, bias=None):
    xq, x_scales = quantize_tokens(x)
    y = int8_product(xq, wq).float() * x_scales * w_scales.flatten()
    return y if bias is None else y + bias
