"""Flattens the tokens by view. Which tensors have no flat view?"""

# caught by: test_products_keep_any_leading_shape
# says: called int8_product(int8 (... 40), int8 (... raised RuntimeError: view size is not compatible with input tenso

import torch


def quantize_tokens(x):
    x = x.float()
    largest = x.abs().amax(dim=-1, keepdim=True)
    scales = torch.where(largest > 0, largest / 127, 1.0)
    return torch.round(x / scales).clamp(-127, 127).to(torch.int8), scales


def int8_product(xq, wq):
    rows = xq.view(-1, xq.shape[-1])
    return (rows.double() @ wq.double().t()).to(torch.int32).view(*xq.shape[:-1], len(wq))


def int8_matmul(x, wq, w_scales, bias=None):
    xq, x_scales = quantize_tokens(x)
    y = int8_product(xq, wq).float() * x_scales * w_scales.flatten()
    return y if bias is None else y + bias
