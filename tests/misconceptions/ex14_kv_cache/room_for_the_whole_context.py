"""Allocates room for 1,024 tokens at once. How much of that room do 64 tokens use?"""

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
        if not self.parts:
            self.room = [part.new_zeros(*part.shape[:2], 1024, part.shape[3]) for part in new]
        start = self.parts[0].shape[2] if self.parts else 0
        for room, part in zip(self.room, new, strict=True):
            room[:, :, start : start + part.shape[2]] = part
        self.parts = [room[:, :, : start + new[0].shape[2]] for room in self.room]

    def read(self) -> tuple[Tensor, Tensor]:
        k, k_scales, v, v_scales = self.parts
        return k * k_scales, v * v_scales

    def nbytes(self) -> int:
        return sum(part.nbytes for part in self.parts)
