"""Never multiplies by a scale below a fixed number. How small may weights be?"""

# caught by: test_codes_times_their_channels_scale_is_the_way_back
# says: called dequantize_per_channel(q, scales), q (7, 12), scales (7, 1) of size 1e-31 got ... expected

import torch

from .ex01_round_trip import quantize, symmetric_scale


def channel_scales(w, bits=8, axis=0):
    whole = symmetric_scale(w, bits)
    others = [d for d in range(w.ndim) if d != axis % w.ndim]
    largest = w.float().abs().amax(dim=others, keepdim=True) if others else w.float().abs()
    return torch.where(largest > 0, largest / (2 ** (bits - 1) - 1), whole)


def quantize_per_channel(w, bits=8, axis=0):
    scales = channel_scales(w, bits, axis)
    return quantize(w, scales, bits), scales


def dequantize_per_channel(q, scales):
    return q.float() * scales.clamp(min=1e-8)
