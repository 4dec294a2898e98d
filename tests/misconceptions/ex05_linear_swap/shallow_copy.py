"""Copies the model with copy.copy. How deep does it reach?"""

# caught by: test_the_model_you_were_given_stays_as_it_was
# says: called swap_linears(model) ... got `first.0` was of type Linear ... expected the original model

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
    model = copy.copy(model)
    skipped = [m for name, m in model.named_modules(remove_duplicate=False) if name in skip]
    swapped = {id(m): int8_linear(m) for m in model.modules() if isinstance(m, nn.Linear) and m not in skipped}
    if id(model) in swapped:
        return swapped[id(model)]
    for parent in list(model.modules()):
        for name, child in parent._modules.items():
            if id(child) in swapped:
                setattr(parent, name, swapped[id(child)])
    return model
