"""Keeps only the float weight and quantizes it in every call. What is there to be saved in int8?"""

# caught by: test_the_weight_is_there_in_int8
# says: called mixed_int8_linear(linear).state_dict() ... expected ... one for each number of a Linear's weight

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
        self.register_buffer("weight", linear.weight.detach().float().clone())
        self.register_buffer("bias", None if linear.bias is None else linear.bias.detach().float().clone())
        self.train(linear.training)

    def forward(self, x: Tensor) -> Tensor:
        x = x.float()
        outlier = outlier_columns(x, self.threshold)
        y = int8_matmul(x.masked_fill(outlier, 0), *quantize_per_channel(self.weight), self.bias)
        return y + x[..., outlier] @ self.weight[:, outlier].t()


def mixed_int8_linear(linear: nn.Linear, threshold: float = 6.0) -> nn.Module:
    return MixedInt8Linear(linear, threshold)
