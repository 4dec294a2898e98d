"""Walks the tree by full names, so that a shared layer has two. What happens to its second place when its name is
skipped?"""

# caught by: test_skipped_names_stay_float
# says: called swap_linears(model, skip=['blocks.0.bo... expected one layer, left in float in all its places

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
    if isinstance(model, nn.Linear):
        return model if "" in skip else int8_linear(model)
    swap_below(model, "", skip, {})
    return model


def swap_below(parent, path, skip, done):
    for name, child in parent._modules.items():
        if isinstance(child, nn.Linear):
            if path + name not in skip:
                parent._modules[name] = (
                    done.setdefault(id(child), None) or done.update({id(child): int8_linear(child)}) or done[id(child)]
                )
                done["keep", id(child)] = child
        elif child is not None:
            swap_below(child, path + name + ".", skip, done)
