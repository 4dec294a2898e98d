"""Every append is kept as it came, and joined when somebody reads."""

import torch

from .ex04_int8_product import quantize_tokens


class Int8KVCache:
    def __init__(self):
        self.appended = []

    def append(self, k, v):
        self.appended.append((quantize_tokens(k), quantize_tokens(v)))

    def read(self):
        return tuple(torch.cat([pair[i][0] * pair[i][1] for pair in self.appended], dim=2) for i in range(2))

    def nbytes(self):
        return sum(tensor.nbytes for pair in self.appended for one in pair for tensor in one)
