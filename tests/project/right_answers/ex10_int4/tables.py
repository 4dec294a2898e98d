"""A table of all 256 bytes for unpacking, Kronecker products for scales, and a sweep that puts weights back."""

import torch
from torch import nn

from .ex06_perplexity import perplexity

BYTES = torch.arange(256)
SIGNED = [0, 1, 2, 3, 4, 5, 6, 7, -8, -7, -6, -5, -4, -3, -2, -1]
TABLE = torch.tensor(SIGNED, dtype=torch.int8)[torch.stack([BYTES & 15, BYTES >> 4], dim=1)]


def pack_int4(q):
    q = torch.cat([q, q.new_zeros(q.shape[0] % 2)]).to(torch.int16) % 16
    return (q[::2] + 16 * q[1::2]).to(torch.uint8)


def unpack_int4(packed, n):
    return TABLE[packed.long()].flatten()[:n].contiguous()


def quantize_grouped(w, bits=4, group_size=32):
    if not 2 <= bits <= 8:
        raise ValueError(bits)
    if w.numel() < 1 or (w != w).any() or w.abs().max() == float("inf"):
        raise ValueError("w")
    m = w.detach().float()
    rows, columns = m.shape
    g = columns if group_size is None else min(group_size, columns)
    padded = torch.zeros(rows, -(-columns // g) * g)
    padded[:, :columns] = m
    padded = padded.reshape(rows, -1, g)
    top = float(2 ** (bits - 1) - 1)
    scales = torch.maximum(padded.abs().amax(-1) / top, torch.tensor(6.1035e-05)).half()
    scales = torch.maximum(scales, torch.tensor(2.0**-14).half())
    codes = (padded / scales[..., None].float()).round().clamp(-top, top)
    return codes.reshape(rows, -1)[:, :columns].to(torch.int8).contiguous(), scales


def dense(codes, scales, g):
    return codes * torch.kron(scales.float(), torch.ones(1, g))[:, : codes.shape[1]]


class Table(nn.Linear):
    """A Linear whose parameter is gone."""

    def __init__(self, linear, group_size):
        super().__init__(1, 1, bias=False)
        self.in_features, self.out_features = linear.in_features, linear.out_features
        del self.weight
        codes, scales = quantize_grouped(linear.weight, 4, group_size)
        self.g = group_size or linear.in_features
        self.register_buffer("codes", pack_int4(codes.flatten()))
        self.register_buffer("scales", scales)
        self.bias = None if linear.bias is None else nn.Parameter(linear.bias.detach().clone(), requires_grad=False)

    def forward(self, x):
        codes = unpack_int4(self.codes, self.in_features * self.out_features)
        weight = dense(codes.view(self.out_features, self.in_features), self.scales, self.g)
        return nn.functional.linear(x, weight, self.bias)


def int4_linear(linear, group_size=32):
    return Table(linear, group_size)


def bit_width_sweep(model, tokens, widths):
    linears = [m for m in model.modules() if isinstance(m, nn.Linear)]
    kept = [m.weight.data for m in linears]
    out = {}
    try:
        for bits in widths:
            for m, w in zip(linears, kept, strict=True):
                m.weight.data = dense(*quantize_grouped(w, bits), 32)
            out[bits] = torch.tensor(perplexity(model, tokens, model.config.block_size))
    finally:
        for m, w in zip(linears, kept, strict=True):
            m.weight.data = w
    return out
