"""Casts the reconstruction back to int8. Which dtype do the weights need?"""

# caught by: test_codes_times_their_channels_scale_is_the_way_back
# says: called dequantize_per_channel(q, scales), q (... expected a float32 tensor of shape (... 12)

import torch

from .ex01_round_trip import quantize, symmetric_scale


def channel_scales(w, bits=8, axis=0):
    symmetric_scale(w, bits)  # for its checks
    others = [d for d in range(w.ndim) if d != axis % w.ndim]
    largest = w.float().abs().amax(dim=others, keepdim=True) if others else w.float().abs()
    return torch.where(largest > 0, largest / (2 ** (bits - 1) - 1), 1.0)


def quantize_per_channel(w, bits=8, axis=0):
    scales = channel_scales(w, bits, axis)
    return quantize(w, scales, bits), scales


def dequantize_per_channel(q, scales):
    return (q * scales).to(torch.int8)
