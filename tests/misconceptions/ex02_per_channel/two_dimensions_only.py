"""Reduces axis 1 or 0, and no other. How many axes do the weights of a convolution have?"""

# caught by: test_one_scale_for_every_index_along_the_axis
# says: called channel_scales(w, axis=0), w float32 (... 6) in [...] ... expected a float32 tensor of shape (... 1)

import torch

from .ex01_round_trip import quantize, symmetric_scale


def channel_scales(w, bits=8, axis=0):
    symmetric_scale(w, bits)  # for its checks
    others = [1 - axis % w.ndim] if w.ndim > 1 else []
    largest = w.float().abs().amax(dim=others, keepdim=True) if others else w.float().abs()
    return torch.where(largest > 0, largest / (2 ** (bits - 1) - 1), 1.0)


def quantize_per_channel(w, bits=8, axis=0):
    scales = channel_scales(w, bits, axis)
    return quantize(w, scales, bits), scales


def dequantize_per_channel(q, scales):
    return q.float() * scales
