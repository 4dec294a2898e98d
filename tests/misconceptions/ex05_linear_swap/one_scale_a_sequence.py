"""Takes one scale for all tokens of a sequence. How many tokens of a GPT share a sequence?"""

# caught by: test_a_result_depends_on_its_own_token_alone
# says: called int8_linear(linear)(x), a token in a sequence with a ... expected ... within ..., as without that token

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
        axes = (-2, -1) if x.dim() == 3 else (-1,)
        largest = x.float().abs().amax(axes, keepdim=True)
        scales = torch.where(largest > 0, largest / 127, 1.0)
        codes = (x.float() / scales).round().to(torch.int8)
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
