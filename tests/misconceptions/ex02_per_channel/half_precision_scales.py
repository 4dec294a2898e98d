"""Computes in the precision that the weights came in. How many digits does half precision keep?"""

# caught by: test_any_tensor_of_finite_numbers_will_do_and_nothing_else
# says: called quantize_per_channel(w), float16 -> scales ... expected scale

import torch

from .ex01_round_trip import quantize, symmetric_scale


def channel_scales(w, bits=8, axis=0):
    symmetric_scale(w, bits)  # for its checks
    others = [d for d in range(w.ndim) if d != axis % w.ndim]
    largest = w.abs().amax(dim=others, keepdim=True) if others else w.abs()
    return torch.where(largest > 0, largest / (2 ** (bits - 1) - 1), 1.0).float()


def quantize_per_channel(w, bits=8, axis=0):
    scales = channel_scales(w, bits, axis)
    return quantize(w, scales, bits), scales


def dequantize_per_channel(q, scales):
    return q.float() * scales
