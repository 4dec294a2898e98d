"""Treats a vector apart, since each of its elements is a channel. What about an element that is zero?"""

# caught by: test_channels_of_zeros_come_back_as_zeros
# says: called channel_scales(w, axis=0), a vector with a zero ... expected scales > ... for zeros as well

import torch

from .ex01_round_trip import quantize, symmetric_scale


def channel_scales(w, bits=8, axis=0):
    symmetric_scale(w, bits)  # for its checks
    if w.ndim == 1:
        return w.float().abs() / (2 ** (bits - 1) - 1)
    others = [d for d in range(w.ndim) if d != axis % w.ndim]
    largest = w.float().abs().amax(dim=others, keepdim=True) if others else w.float().abs()
    return torch.where(largest > 0, largest / (2 ** (bits - 1) - 1), 1.0)


def quantize_per_channel(w, bits=8, axis=0):
    scales = channel_scales(w, bits, axis)
    return quantize(w, scales, bits), scales


def dequantize_per_channel(q, scales):
    return q.float() * scales
