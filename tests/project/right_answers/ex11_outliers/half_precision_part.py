"""The outlier columns in half precision, as in the paper, gathered by their indices; the others in int32."""

import torch
from torch import nn

from .ex04_int8_product import quantize_tokens


def outlier_columns(x, threshold=6.0):
    tokens = x.reshape(-1, x.shape[-1]).abs()
    largest = torch.cat([tokens, tokens.new_full((1, x.shape[-1]), -1.0)]).amax(dim=0)  # there may be no token
    return largest >= threshold


class Mixed(nn.Module):
    def __init__(self, linear, threshold):
        super().__init__()
        w = linear.weight.detach().float()
        scales = w.abs().amax(1, keepdim=True) / 127
        scales[scales == 0] = 1
        self.register_buffer("codes", (w / scales).round().to(torch.int8))
        self.register_buffer("scales", scales)
        self.register_buffer("w16", w.half())
        self.bias = linear.bias
        self.threshold = threshold

    def forward(self, x):
        lead = x.shape[:-1]
        x = x.reshape(-1, x.shape[-1])
        outlier = outlier_columns(x, self.threshold)
        there, usual = outlier.nonzero()[:, 0], (~outlier).nonzero()[:, 0]
        y = x.new_zeros(len(x), len(self.codes))
        if len(usual):
            q, s = quantize_tokens(x.index_select(1, usual))
            y += (q.int() @ self.codes.index_select(1, usual).int().t()).float() * s * self.scales.t()
        if len(there):
            y += (x.index_select(1, there).half() @ self.w16.index_select(1, there).t()).float()
        if self.bias is not None:
            y += self.bias
        return y.view(*lead, len(self.codes))


def mixed_int8_linear(linear, threshold=6.0):
    return Mixed(linear, threshold).requires_grad_(False)
