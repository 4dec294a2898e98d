"""Writes every result into one tensor that the layer keeps. What happens to the result of the call before?"""

# caught by: test_a_result_depends_on_its_own_token_alone
# says: called int8_linear(linear)(x), call 1 of 2, looked at when all... expected ... depends on the values of x alone

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
        self.out = None

    def forward(self, x):
        y = int8_matmul(x, self.codes, self.scales, self.bias)
        if self.out is None or self.out.shape != y.shape:
            self.out = y
        return self.out.copy_(y)


def int8_linear(linear):
    return Int8Linear(linear)


def swap_linears(model, skip=()):
    model = copy.deepcopy(model)
    places = dict(model.named_modules(remove_duplicate=False))
    skipped = [m for name, m in places.items() if name in skip]
    swapped = {m: int8_linear(m) for m in model.modules() if isinstance(m, nn.Linear) and m not in skipped}
    for name, module in places.items():
        if module in swapped and name:
            model.set_submodule(name, swapped[module])
    return swapped.get(model, model)
