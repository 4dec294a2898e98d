"""Keeps the tokens in the class. How many caches does a model with four layers have?"""

# caught by: test_two_caches_share_nothing
# says: called Int8KVCache(), one of two that take turns, read()[0] ... expected a float32 tensor of shape

import math

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from .ex02_per_channel import dequantize_per_channel, quantize_per_channel
from .ex04_int8_product import quantize_tokens


class Int8KVCache:
    parts = {}

    def append(self, k: Tensor, v: Tensor) -> None:
        new = [*quantize_tokens(k), *quantize_tokens(v)]
        for i, part in enumerate(new):
            self.parts[i] = torch.cat([self.parts[i], part], dim=2) if i in self.parts else part

    def read(self) -> tuple[Tensor, Tensor]:
        k, k_scales, v, v_scales = self.parts.values()
        return k * k_scales, v * v_scales

    def nbytes(self) -> int:
        return sum(part.nbytes for part in self.parts.values())
