"""Sets attributes on the model whose names hold dots, such as first.0. In which module does that Linear hang?"""

# caught by: test_every_linear_at_any_depth_is_swapped
# says: called swap_linears(model)(ids) ... expected the rounding of int8 to show

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
    skipped = [m for name, m in model.named_modules(remove_duplicate=False) if name in skip]
    swapped = {id(m): int8_linear(m) for m in model.modules() if isinstance(m, nn.Linear) and m not in skipped}
    if id(model) in swapped:
        return swapped[id(model)]
    for name, child in list(model.named_modules(remove_duplicate=False)):
        if id(child) in swapped:
            model._modules[name] = swapped[id(child)]
    return model
