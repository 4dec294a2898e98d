"""Returns the scales first. In which order does the contract name them?"""

# caught by: test_every_weight_gets_the_nearest_code_of_its_channel
# says: called quantize_per_channel(w, axis=0), w float32 (... 12) in [...] ... expected (q, scales): codes first

import torch

from .ex01_round_trip import quantize, symmetric_scale


def channel_scales(w, bits=8, axis=0):
    symmetric_scale(w, bits)  # for its checks
    others = [d for d in range(w.ndim) if d != axis % w.ndim]
    largest = w.float().abs().amax(dim=others, keepdim=True) if others else w.float().abs()
    return torch.where(largest > 0, largest / (2 ** (bits - 1) - 1), 1.0)


def quantize_per_channel(w, bits=8, axis=0):
    scales = channel_scales(w, bits, axis)
    return scales, quantize(w, scales, bits)


def dequantize_per_channel(q, scales):
    return q.float() * scales
