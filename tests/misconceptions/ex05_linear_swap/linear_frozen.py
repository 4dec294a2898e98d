"""Freezes the weight of the layer that it is given. Whose weight is it?"""

# caught by: test_the_model_you_were_given_stays_as_it_was
# says: called int8_linear(linear) ... got requires_grad of `first.0.weight` changed to False ... expected the original

import copy

from torch import nn

from .ex02_per_channel import quantize_per_channel
from .ex04_int8_product import int8_matmul


class Int8Linear(nn.Module):
    def __init__(self, linear):
        super().__init__()
        linear.weight.requires_grad_(False)
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
    places = dict(model.named_modules(remove_duplicate=False))
    skipped = [m for name, m in places.items() if name in skip]
    swapped = {m: int8_linear(m) for m in model.modules() if isinstance(m, nn.Linear) and m not in skipped}
    for name, module in places.items():
        if module in swapped and name:
            model.set_submodule(name, swapped[module])
    return swapped.get(model, model)
