"""Asks named_modules() for names, which gives one name of each module. Which name has a Linear in two places?"""

# caught by: test_skipped_names_stay_float
# says: called swap_linears(model, skip=['blocks.0.body.3'])... expected one layer, left in float in all its places

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
    swapped = {m: int8_linear(m) for name, m in model.named_modules() if isinstance(m, nn.Linear) and name not in skip}
    for name, module in list(model.named_modules(remove_duplicate=False)):
        if module in swapped and name:
            model.set_submodule(name, swapped[module])
    return swapped.get(model, model)
