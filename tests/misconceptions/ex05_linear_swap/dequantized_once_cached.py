"""Reconstructs the float weight at the first call and keeps it. What got smaller?"""

# caught by: test_every_linear_at_any_depth_is_swapped
# says: called swap_linears(model) ... expected no float copy of a weight: codes are meant to replace it

import copy

from torch import nn

from .ex02_per_channel import quantize_per_channel
from .ex04_int8_product import quantize_tokens


class Int8Linear(nn.Module):
    def __init__(self, linear):
        super().__init__()
        codes, scales = quantize_per_channel(linear.weight.detach())
        self.register_buffer("codes", codes)
        self.register_buffer("scales", scales)
        self.register_buffer("bias", None if linear.bias is None else linear.bias.detach().clone())

    def forward(self, x):
        if not hasattr(self, "weight"):
            self.weight = self.codes.float() * self.scales
        xq, sx = quantize_tokens(x)
        return nn.functional.linear(xq.float() * sx, self.weight, self.bias)


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
