"""Codes are one flat vector, everything is an untrained Parameter, and parents are looked up in a dictionary by
name."""

import copy

import torch
from torch import nn

from .ex04_int8_product import int8_product, quantize_tokens


class Flat(nn.Module):
    def __init__(self, linear):
        super().__init__()
        w = linear.weight.detach().float()
        s = w.abs().amax(1) / 127
        s[s == 0] = 1
        codes = (w / s[:, None]).round().to(torch.int8).flatten()
        self.out_features, self.in_features = w.shape
        self.codes = nn.Parameter(codes, requires_grad=False)
        self.step = nn.Parameter(s, requires_grad=False)
        if linear.bias is not None:
            self.offset = nn.Parameter(linear.bias.detach().clone(), requires_grad=False)
        else:
            self.offset = None

    def forward(self, x):
        q, sx = quantize_tokens(x)
        y = int8_product(q, self.codes.view(self.out_features, self.in_features)) * sx * self.step
        return y if self.offset is None else y + self.offset


def int8_linear(linear):
    return Flat(linear)


def swap_linears(model, skip=()):
    model = copy.deepcopy(model)
    modules = dict(model.named_modules(remove_duplicate=False))
    stay = {id(modules[name]) for name in skip}
    made = {}
    for name, module in modules.items():
        if not isinstance(module, nn.Linear) or id(module) in stay:
            continue
        new = made.setdefault(id(module), None) or int8_linear(module)
        made[id(module)] = new
        if name == "":
            return new
        parent, _, child = name.rpartition(".")
        modules[parent]._modules[child] = new
    return model
