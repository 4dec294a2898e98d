"""Keeps the last x and its result, for when the same tensor comes again. What if other numbers were written into it?"""

# caught by: test_a_result_depends_on_its_own_token_alone
# says: called int8_linear(linear)(x), call 2 of 2, with the same tens... expected ... depends on the values of x alone

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
        self.last = None, None

    def forward(self, x):
        if x is not self.last[0]:
            self.last = x, int8_matmul(x, self.codes, self.scales, self.bias)
        return self.last[1].clone()


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
