"""Takes one scale for the whole call when the batch is one. How many tokens does a batch of one hold?"""

# caught by: test_answers_depend_on_values_alone
# says: called quantize_tokens(x), x (1, 4, 48), a batch of one -> scales got scale ... expected scale

import torch


def quantize_tokens(x):
    x = x.float()
    largest = x.abs().amax(dim=-1, keepdim=True)
    if x.dim() == 3 and len(x) == 1 and x.numel():
        largest = largest.amax(dim=1, keepdim=True).repeat(1, x.shape[1], 1)
    scales = torch.where(largest > 0, largest / 127, 1.0)
    return torch.round(x / scales).clamp(-127, 127).to(torch.int8), scales


def int8_product(xq, wq):
    return (xq.double() @ wq.double().t()).to(torch.int32)


def int8_matmul(x, wq, w_scales, bias=None):
    xq, x_scales = quantize_tokens(x)
    y = int8_product(xq, wq).float() * x_scales * w_scales.flatten()
    return y if bias is None else y + bias
