"""Divides the bias by the channel scales in place. What becomes of the caller's bias?"""

# caught by: test_arguments_stay_as_they_were
# says: called int8_matmul(x, wq, w_scales, bias), x float32 (... 5) in [...] ... expected the argument as it was

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
    if bias is not None:
        bias.div_(w_scales.flatten())
    y = int8_product(xq, wq).float() * x_scales
    return (y if bias is None else y + bias) * w_scales.flatten()
