"""Passes bits on to no other function when quantizing. Which function makes the scales?"""

# caught by: test_every_row_keeps_its_own_bound
# says: called quantize_per_channel(w, bits=5), rows of very different size -> scales ... expected scale

import torch

from .ex01_round_trip import quantize, symmetric_scale


def channel_scales(w, bits=8, axis=0):
    symmetric_scale(w, bits)  # for its checks
    others = [d for d in range(w.ndim) if d != axis % w.ndim]
    largest = w.float().abs().amax(dim=others, keepdim=True) if others else w.float().abs()
    return torch.where(largest > 0, largest / (2 ** (bits - 1) - 1), 1.0)


def quantize_per_channel(w, bits=8, axis=0):
    channel_scales(w, bits, axis)
    scales = channel_scales(w, axis=axis)
    return quantize(w, scales), scales


def dequantize_per_channel(q, scales):
    return q.float() * scales
