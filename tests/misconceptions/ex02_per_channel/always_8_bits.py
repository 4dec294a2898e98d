"""Divides by 127 at every width. What does bits change?"""

# caught by: test_the_width_sets_the_last_code_of_every_channel
# says: called channel_scales(w, bits=5) ... got scale ... at [... 0] (24 of 24 differ) ... expected scale

import torch

from .ex01_round_trip import quantize, symmetric_scale


def channel_scales(w, bits=8, axis=0):
    symmetric_scale(w, bits)  # for its checks
    others = [d for d in range(w.ndim) if d != axis % w.ndim]
    largest = w.float().abs().amax(dim=others, keepdim=True) if others else w.float().abs()
    return torch.where(largest > 0, largest / 127, 1.0)


def quantize_per_channel(w, bits=8, axis=0):
    scales = channel_scales(w, bits, axis)
    return quantize(w, scales, bits), scales


def dequantize_per_channel(q, scales):
    return q.float() * scales
