"""Takes twice the mean of the absolute values for the range of a row. What becomes of the weights outside this
range?"""

# caught by: test_one_scale_for_every_index_along_the_axis
# says: called channel_scales(w, axis=0), w float32 (... 12) in [...] ... expected scale

import torch

from .ex01_round_trip import quantize, symmetric_scale


def channel_scales(w, bits=8, axis=0):
    symmetric_scale(w, bits)  # for its checks
    others = [d for d in range(w.ndim) if d != axis % w.ndim]
    largest = 2 * (w.float().abs().mean(dim=others, keepdim=True) if others else w.float().abs())
    return torch.where(largest > 0, largest / (2 ** (bits - 1) - 1), 1.0)


def quantize_per_channel(w, bits=8, axis=0):
    scales = channel_scales(w, bits, axis)
    return quantize(w, scales, bits), scales


def dequantize_per_channel(q, scales):
    return q.float() * scales
