"""Swaps everything. What is skip for?"""

# caught by: test_skipped_names_stay_float
# says: called swap_linears(model, skip=['first.2', 'heads.b.0']) ... expected this Linear to stay as it was

import copy

from torch import nn

from .ex02_per_channel import quantize_per_channel
from .ex04_int8_product import int8_matmul


class Int8Linear(nn.Module):
    def __init__(self, linear):
        super().__init__()
        codes, scales = quantize_per_channel(linear.weight.detach())
        self.register_buffer("codes", codes)
        self.register_buffer("scales", scales)
        self.register_buffer("bias", None if linear.bias is None else linear.bias.detach().clone())

    def forward(self, x):
        return int8_matmul(x, self.codes, self.scales, self.bias)


def int8_linear(linear):
    return Int8Linear(linear)


def swap_linears(model, skip=()):
    model = copy.deepcopy(model)
    swapped = {id(m): int8_linear(m) for name, m in model.named_modules() if isinstance(m, nn.Linear)}
    if id(model) in swapped:
        return swapped[id(model)]
    for parent in list(model.modules()):
        for name, child in parent._modules.items():
            if id(child) in swapped:
                setattr(parent, name, swapped[id(child)])
    return model
