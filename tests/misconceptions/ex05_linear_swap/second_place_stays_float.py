"""Swaps under the one name that named_modules() gives. Where else is the same Linear used?"""

# caught by: test_a_linear_used_twice_stays_one_layer
# says: called swap_linears(model), one Linear in several places ... expected no float copy of a weight

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
    for name, module in list(model.named_modules()):
        if isinstance(module, nn.Linear) and name not in skip:
            if name == "":
                return int8_linear(module)
            model.set_submodule(name, int8_linear(module))
    return model
