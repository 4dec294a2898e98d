"""Takes absolute values in place, and makes a copy of w in quantize_per_channel only. What if channel_scales is called
by itself?"""

# caught by: test_any_tensor_of_finite_numbers_will_do_and_nothing_else
# says: called channel_scales(w, axis=0), w float32 (...) in [...] ... expected the argument as it was

import torch

from .ex01_round_trip import quantize, symmetric_scale


def channel_scales(w, bits=8, axis=0):
    symmetric_scale(w, bits)  # for its checks
    others = [d for d in range(w.ndim) if d != axis % w.ndim]
    largest = w.float().abs_().amax(dim=others, keepdim=True) if others else w.float().abs()
    return torch.where(largest > 0, largest / (2 ** (bits - 1) - 1), 1.0)


def quantize_per_channel(w, bits=8, axis=0):
    scales = channel_scales(w.clone(), bits, axis)
    return quantize(w, scales, bits), scales


def dequantize_per_channel(q, scales):
    return q.float() * scales
