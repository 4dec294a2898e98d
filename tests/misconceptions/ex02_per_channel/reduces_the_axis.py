"""Takes the maximum along axis. Is axis the one that is kept, or the one that is reduced?"""

# caught by: test_one_scale_for_every_index_along_the_axis
# says: called channel_scales(w, axis=0), w float32 (... 12) in [...] ... expected a float32 tensor of shape (... 1)

import torch

from .ex01_round_trip import quantize, symmetric_scale


def channel_scales(w, bits=8, axis=0):
    symmetric_scale(w, bits)  # for its checks
    others = [d for d in range(w.ndim) if d != axis % w.ndim]
    largest = w.float().abs().amax(dim=axis, keepdim=True)
    return torch.where(largest > 0, largest / (2 ** (bits - 1) - 1), 1.0)


def quantize_per_channel(w, bits=8, axis=0):
    scales = channel_scales(w, bits, axis)
    return quantize(w, scales, bits), scales


def dequantize_per_channel(q, scales):
    return q.float() * scales
