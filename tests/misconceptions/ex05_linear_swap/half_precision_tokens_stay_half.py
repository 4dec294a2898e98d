"""Computes token scales and codes in the precision of x. How exact is a scale in float16?"""

# caught by: test_a_layer_takes_every_kind_of_number_and_size
# says: called int8_linear(linear)(x), x float16 ... expected ... within ..., int8 codes multiplied exactly

import copy

import torch
from torch import nn

from .ex02_per_channel import quantize_per_channel
from .ex04_int8_product import int8_product


class Int8Linear(nn.Module):
    def __init__(self, linear):
        super().__init__()
        codes, scales = quantize_per_channel(linear.weight.detach())
        self.register_buffer("codes", codes)
        self.register_buffer("scales", scales)
        self.register_buffer("bias", None if linear.bias is None else linear.bias.detach().clone())

    def forward(self, x):
        largest = x.abs().amax(-1, keepdim=True)
        scales = torch.where(largest > 0, largest / 127, 1.0)
        codes = (x / scales).round().clamp(-127, 127).to(torch.int8)
        y = int8_product(codes, self.codes).float() * scales * self.scales.flatten()
        return y if self.bias is None else y + self.bias


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
