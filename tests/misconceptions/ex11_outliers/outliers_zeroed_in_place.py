"""Writes zeros into x itself. Who else reads x after this layer?"""

# caught by: test_two_parts_make_the_product
# says: called mixed_int8_linear(linear, ... outlier columns of ... got the argument itself changed

import copy

from torch import Tensor, nn

from .ex02_per_channel import quantize_per_channel
from .ex04_int8_product import int8_matmul
from .ex05_linear_swap import swap_linears
from .ex06_perplexity import drift, perplexity


def outlier_columns(x: Tensor, threshold: float = 6.0) -> Tensor:
    return (x.abs() >= threshold).reshape(-1, x.shape[-1]).any(dim=0)


class MixedInt8Linear(nn.Module):
    def __init__(self, linear: nn.Linear, threshold: float):
        super().__init__()
        self.threshold = threshold
        codes, scales = quantize_per_channel(linear.weight.detach())
        self.register_buffer("codes", codes)
        self.register_buffer("scales", scales)
        self.register_buffer("weight", linear.weight.detach().float().clone())
        self.register_buffer("bias", None if linear.bias is None else linear.bias.detach().float().clone())
        self.train(linear.training)

    def forward(self, x: Tensor) -> Tensor:
        x = x.float()
        outlier = outlier_columns(x, self.threshold)
        y = x[..., outlier] @ self.weight[:, outlier].t()
        x[..., outlier] = 0
        return y + int8_matmul(x, self.codes, self.scales, self.bias)


def mixed_int8_linear(linear: nn.Linear, threshold: float = 6.0) -> nn.Module:
    return MixedInt8Linear(linear, threshold)
