"""Rounds correctly, but keeps the codes in a global dictionary. Does nbytes() count them?"""

# caught by: test_it_takes_little_more_than_a_quarter_of_float32
# says: called Int8KVCache() after ... tokens, ... got 0 bytes in all tensors that it holds ... for the codes alone

import torch
from torch import Tensor

from .ex04_int8_product import quantize_tokens

STORE: dict[int, list] = {}


class Int8KVCache:
    def __init__(self):
        STORE[id(self)] = []

    def append(self, k: Tensor, v: Tensor) -> None:
        STORE[id(self)].append(tuple(codes * scales for codes, scales in (quantize_tokens(k), quantize_tokens(v))))

    def read(self) -> tuple[Tensor, Tensor]:
        keys, values = zip(*STORE[id(self)])
        return torch.cat(keys, dim=2), torch.cat(values, dim=2)

    def nbytes(self) -> int:
        return 0
