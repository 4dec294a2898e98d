"""Keeps the token scales of the first call for later calls of the same shape. What changes from call to call?"""

# caught by: test_a_result_depends_on_its_own_token_alone
# says: called swap_linears(model)(x), where the model computes lin(x) + lin(x.mul... expected ... the sum of what

import copy

import torch
from torch import nn

from .ex02_per_channel import quantize_per_channel
from .ex04_int8_product import int8_product, quantize_tokens


class Int8Linear(nn.Module):
    def __init__(self, linear):
        super().__init__()
        codes, scales = quantize_per_channel(linear.weight.detach())
        self.register_buffer("codes", codes)
        self.register_buffer("scales", scales)
        self.register_buffer("bias", None if linear.bias is None else linear.bias.detach().clone())
        self.x_scales = torch.zeros(0)

    def forward(self, x):
        codes, scales = quantize_tokens(x)
        if self.x_scales.shape != scales.shape:
            self.x_scales = scales
        scales = self.x_scales
        codes = (x.float() / scales).round().clamp(-127, 127).to(torch.int8)
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
