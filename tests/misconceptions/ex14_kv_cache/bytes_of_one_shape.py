"""Computes its bytes for one text of 8 heads. How many texts and heads does it keep?"""

# caught by: test_nbytes_counts_all_that_is_held
# says: called Int8KVCache() after ... tokens, ... nbytes() got ... expected ... the bytes of all tensors that it holds

import torch
from torch import Tensor

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
        return 2 * 8 * self.parts[0].shape[2] * (64 + 4)
