"""Keeps the float32 numbers in a global dictionary. How much memory does that save?"""

# caught by: test_eight_bits_tell_256_numbers_apart
# says: called Int8KVCache() with one append of ... got ... values in a token expected at most 256, of 8 bits

import torch
from torch import Tensor

STORE: dict[int, list] = {}


class Int8KVCache:
    def __init__(self):
        STORE[id(self)] = []

    def append(self, k: Tensor, v: Tensor) -> None:
        STORE[id(self)].append((k.clone(), v.clone()))

    def read(self) -> tuple[Tensor, Tensor]:
        keys, values = zip(*STORE[id(self)])
        return torch.cat(keys, dim=2), torch.cat(values, dim=2)

    def nbytes(self) -> int:
        return 0
