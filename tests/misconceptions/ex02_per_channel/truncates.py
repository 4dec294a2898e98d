"""Casts codes to int8 without rounding. What does a cast do with the fraction?"""

# caught by: test_every_weight_gets_the_nearest_code_of_its_channel
# says: called quantize_per_channel(w, axis=0), w flo... expected code ... the nearest in [... 127]

import torch

from .ex01_round_trip import quantize, symmetric_scale


def channel_scales(w, bits=8, axis=0):
    symmetric_scale(w, bits)  # for its checks
    others = [d for d in range(w.ndim) if d != axis % w.ndim]
    largest = w.float().abs().amax(dim=others, keepdim=True) if others else w.float().abs()
    return torch.where(largest > 0, largest / (2 ** (bits - 1) - 1), 1.0)


def quantize_per_channel(w, bits=8, axis=0):
    scales = channel_scales(w, bits, axis)
    return (w.float() / scales).to(torch.int8), scales


def dequantize_per_channel(q, scales):
    return q.float() * scales
