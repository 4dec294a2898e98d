"""Counts codes and forgets scales. How many bytes does a scale take, beside its 64 codes?"""

# caught by: test_nbytes_counts_all_that_is_held
# says: called Int8KVCache() after ... tokens, ... nbytes() got ... expected ... the bytes of all tensors that it holds

import math

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from .ex02_per_channel import dequantize_per_channel, quantize_per_channel
from .ex04_int8_product import quantize_tokens


class Int8KVCache:
    def __init__(self):
        self.parts: list[Tensor] = []

    def append(self, k: Tensor, v: Tensor) -> None:
        new = [*quantize_tokens(k), *quantize_tokens(v)]
        self.parts = [torch.cat(pair, dim=2) for pair in zip(self.parts, new, strict=True)] if self.parts else new

    def read(self) -> tuple[Tensor, Tensor]:
        k, k_scales, v, v_scales = self.parts
        return k * k_scales, v * v_scales

    def nbytes(self) -> int:
        return sum(part.nbytes for part in self.parts[::2])
