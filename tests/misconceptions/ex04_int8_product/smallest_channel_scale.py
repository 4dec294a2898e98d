"""Never multiplies by a channel scale below a fixed number. How small may weights be?"""

# caught by: test_matmul_of_tokens_of_every_size
# says: called int8_matmul(x, wq, w_scales, None), w_scales of size 1e-32 got ... expected

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
    y = int8_product(xq, wq).float() * x_scales * w_scales.clamp(min=1e-8).flatten()
    return y if bias is None else y + bias
