"""Made under torch.inference_mode, also run under it; a forward pre-hook quantizes the tokens."""

import copy

import torch
from torch import nn

from .ex02_per_channel import quantize_per_channel
from .ex04_int8_product import int8_product, quantize_tokens


class Hooked(nn.Module):
    @torch.inference_mode()
    def __init__(self, linear):
        super().__init__()
        q, s = quantize_per_channel(linear.weight)
        self.register_buffer("q", q)
        self.register_buffer("s", s.squeeze(1))
        self.register_buffer("b", None if linear.bias is None else linear.bias.clone())
        self.register_forward_pre_hook(_tokens)

    @torch.inference_mode()
    def forward(self, codes, scales):
        y = int8_product(codes, self.q).float().mul_(scales).mul_(self.s)
        return y if self.b is None else y.add_(self.b)


def _tokens(module, args):
    return quantize_tokens(*args)


def int8_linear(linear):
    return Hooked(linear)


def swap_linears(model, skip=()):
    stay = {m for n, m in model.named_modules(remove_duplicate=False) if n in skip}
    memo = {id(m): int8_linear(m) for m in model.modules() if isinstance(m, nn.Linear) and m not in stay}
    return memo.get(id(model)) or copy.deepcopy(model, memo)
