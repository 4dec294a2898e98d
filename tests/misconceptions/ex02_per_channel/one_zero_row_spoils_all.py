"""Gives every channel the scale 1 as soon as one channel is all zeros. What do zeros in one channel change in the
others?"""

# caught by: test_channels_of_zeros_come_back_as_zeros
# says: called quantize_per_channel(w, axis=0), rows 2 and 9 all zeros -> scales ... expected scale

import torch

from .ex01_round_trip import quantize, symmetric_scale


def channel_scales(w, bits=8, axis=0):
    symmetric_scale(w, bits)  # for its checks
    others = [d for d in range(w.ndim) if d != axis % w.ndim]
    largest = w.float().abs().amax(dim=others, keepdim=True) if others else w.float().abs()
    return largest / (2 ** (bits - 1) - 1) if largest.all() else torch.ones_like(largest)


def quantize_per_channel(w, bits=8, axis=0):
    scales = channel_scales(w, bits, axis)
    return quantize(w, scales, bits), scales


def dequantize_per_channel(q, scales):
    return q.float() * scales
