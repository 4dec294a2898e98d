"""Takes one scale for all tokens of the call. What does a large token do to the others?"""

# caught by: test_every_token_has_a_scale_of_its_own
# says: called quantize_tokens(x), x float32 (... 48) in [...] -> scales ... expected scale

import torch


def quantize_tokens(x):
    x = x.float()
    largest = x.abs().max().expand(*x.shape[:-1], 1) if x.numel() else x[..., :1].abs()
    scales = torch.where(largest > 0, largest / 127, 1.0)
    return torch.round(x / scales).clamp(-127, 127).to(torch.int8), scales


def int8_product(xq, wq):
    return (xq.double() @ wq.double().t()).to(torch.int32)


def int8_matmul(x, wq, w_scales, bias=None):
    xq, x_scales = quantize_tokens(x)
    y = int8_product(xq, wq).float() * x_scales * w_scales.flatten()
    return y if bias is None else y + bias
