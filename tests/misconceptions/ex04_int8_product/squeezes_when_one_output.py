"""Drops dimensions of size 1 to undo what it did to a single token. What if there is a single output channel?"""

# caught by: test_products_keep_any_leading_shape
# says: called int8_product(xq, wq), xq (...), wq (... 40) ... expected an int32 tensor of shape (...)

import torch


def quantize_tokens(x):
    x = x.float()
    largest = x.abs().amax(dim=-1, keepdim=True)
    scales = torch.where(largest > 0, largest / 127, 1.0)
    return torch.round(x / scales).clamp(-127, 127).to(torch.int8), scales


def int8_product(xq, wq):
    y = (torch.atleast_2d(xq).double() @ wq.double().t()).to(torch.int32)
    return y.squeeze() if xq.dim() == 1 else y


def int8_matmul(x, wq, w_scales, bias=None):
    xq, x_scales = quantize_tokens(x)
    y = int8_product(xq, wq).float() * x_scales * w_scales.flatten()
    return y if bias is None else y + bias
