"""Reads the codes of the weights row by row from memory. In which order do they lie there?"""

# caught by: test_answers_depend_on_values_alone
# says: called int8_matmul(x, wq, w_scales, bias), wq every second number of a larger tensor got ... expected

import torch


def quantize_tokens(x):
    x = x.float()
    largest = x.abs().amax(dim=-1, keepdim=True)
    scales = torch.where(largest > 0, largest / 127, 1.0)
    return torch.round(x / scales).clamp(-127, 127).to(torch.int8), scales


def int8_product(xq, wq):
    wq = torch.as_strided(wq, wq.shape, (wq.shape[1], 1))
    return (xq.double() @ wq.double().t()).to(torch.int32)


def int8_matmul(x, wq, w_scales, bias=None):
    xq, x_scales = quantize_tokens(x)
    y = int8_product(xq, wq).float() * x_scales * w_scales.flatten()
    return y if bias is None else y + bias
