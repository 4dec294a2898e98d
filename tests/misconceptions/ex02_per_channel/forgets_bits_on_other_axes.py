"""Turns the axis to the front and calls itself again. Which arguments get lost on the way?"""

# caught by: test_the_width_sets_the_last_code_of_every_channel
# says: called quantize_per_channel(w, bits=... axis=1) -> scales ... expected scale

import torch

from .ex01_round_trip import quantize, symmetric_scale


def channel_scales(w, bits=8, axis=0):
    symmetric_scale(w, bits)  # for its checks
    if axis % w.ndim:
        return channel_scales(w.transpose(0, axis)).transpose(0, axis)
    largest = w.float().abs().flatten(1).amax(dim=1) if w.ndim > 1 else w.float().abs()
    largest = largest.view(-1, *[1] * (w.ndim - 1))
    return torch.where(largest > 0, largest / (2 ** (bits - 1) - 1), 1.0)


def quantize_per_channel(w, bits=8, axis=0):
    scales = channel_scales(w, bits, axis)
    return quantize(w, scales, bits), scales


def dequantize_per_channel(q, scales):
    return q.float() * scales
