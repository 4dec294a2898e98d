"""The weight lies in (K, N); the outlier columns are gathered in bfloat16; the others are summed in float64."""

import torch
from torch import nn


def outlier_columns(x, threshold=6.0):
    tokens = x.detach().reshape(-1, x.shape[-1])
    return torch.tensor([bool(((column >= threshold) | (column <= -threshold)).any()) for column in tokens.unbind(1)])


class Mixed(nn.Module):
    def __init__(self, linear, threshold):
        super().__init__()
        w = linear.weight.detach().float()
        scales = [max(row.abs().max().item(), 1e-38) / 127 for row in w]
        self.scales = torch.tensor(scales, dtype=torch.float64)
        self.register_buffer("codes", (w.double() / self.scales[:, None]).round().to(torch.int8).t().contiguous())
        self.register_buffer("columns", w.t().to(torch.bfloat16).contiguous())
        self.bias = None if linear.bias is None else linear.bias.detach().clone()
        self.threshold = threshold

    def forward(self, x):
        outlier = outlier_columns(x, self.threshold)
        usual = x.double() * ~outlier
        steps = usual.abs().amax(dim=-1, keepdim=True) / 127
        steps = steps + (steps == 0)
        y = (usual / steps).round() @ self.codes.double() * steps * self.scales
        there = outlier.nonzero().flatten()
        y += x[..., there].bfloat16().float() @ self.columns[there].float()
        return (y if self.bias is None else y + self.bias).float()


def mixed_int8_linear(linear, threshold=6.0):
    return Mixed(linear, threshold)
