"""Reads x as if its rows stood one after the other in memory. Where are the numbers of a slice?"""

# caught by: test_answers_depend_on_values_alone
# says: called outlier_columns(x, 6.0), ... every second number of a larger tensor got ... expected

import copy

import torch
from torch import Tensor, nn

from .ex02_per_channel import quantize_per_channel
from .ex04_int8_product import int8_matmul
from .ex05_linear_swap import swap_linears
from .ex06_perplexity import drift, perplexity


def outlier_columns(x: Tensor, threshold: float = 6.0) -> Tensor:
    rows = torch.as_strided(x, (x.numel() // x.shape[-1], x.shape[-1]), (x.shape[-1], 1))
    return (rows.abs() >= threshold).any(dim=0)


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
        y = int8_matmul(x.masked_fill(outlier, 0), self.codes, self.scales, self.bias)
        return y + x[..., outlier] @ self.weight[:, outlier].t()


def mixed_int8_linear(linear: nn.Linear, threshold: float = 6.0) -> nn.Module:
    return MixedInt8Linear(linear, threshold)
