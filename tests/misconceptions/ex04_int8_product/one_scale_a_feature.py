"""Takes one scale for each feature, over all tokens. Which scale can be taken out of a sum over features?"""

# caught by: test_every_token_has_a_scale_of_its_own
# says: called quantize_tokens(x), x float32 (... 48)... expected a float32 tensor of shape (... 1)

import torch


def quantize_tokens(x):
    x = x.float()
    largest = x.abs().amax(dim=0, keepdim=True)
    scales = torch.where(largest > 0, largest / 127, 1.0)
    return torch.round(x / scales).clamp(-127, 127).to(torch.int8), scales


def int8_product(xq, wq):
    return (xq.double() @ wq.double().t()).to(torch.int32)


def int8_matmul(x, wq, w_scales, bias=None):
    xq, x_scales = quantize_tokens(x)
    y = int8_product(xq, wq).float() * x_scales * w_scales.flatten()
    return y if bias is None else y + bias
