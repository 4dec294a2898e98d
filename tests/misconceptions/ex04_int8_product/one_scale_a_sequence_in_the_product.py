"""Takes one scale for each sequence of a batch, in int8_matmul only. What does a large token do to its neighbours?"""

# caught by: test_answers_depend_on_values_alone
# says: called int8_matmul(x, wq, w_scales, bias), x (1, 4, 48), a batch of one got ... expected

import torch


def quantize_tokens(x):
    x = x.float()
    largest = x.abs().amax(dim=-1, keepdim=True)
    scales = torch.where(largest > 0, largest / 127, 1.0)
    return torch.round(x / scales).clamp(-127, 127).to(torch.int8), scales


def int8_product(xq, wq):
    return (xq.double() @ wq.double().t()).to(torch.int32)


def int8_matmul(x, wq, w_scales, bias=None):
    if x.dim() == 3 and x.numel():
        x_scales = x.float().abs().amax(dim=(1, 2), keepdim=True) / 127
        xq = torch.round(x.float() / x_scales).to(torch.int8)
    else:
        xq, x_scales = quantize_tokens(x)
    y = int8_product(xq, wq).float() * x_scales * w_scales.flatten()
    return y if bias is None else y + bias
