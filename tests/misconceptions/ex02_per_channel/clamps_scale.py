"""Never lets a scale fall below a fixed number. How small may weights be?"""

# caught by: test_any_tensor_of_finite_numbers_will_do_and_nothing_else
# says: called quantize_per_channel(w), rows of max|w| = 1e-30 -> scales ... expected scale

import torch

from .ex01_round_trip import quantize, symmetric_scale


def channel_scales(w, bits=8, axis=0):
    symmetric_scale(w, bits)  # for its checks
    others = [d for d in range(w.ndim) if d != axis % w.ndim]
    largest = w.float().abs().amax(dim=others, keepdim=True) if others else w.float().abs()
    return (largest / (2 ** (bits - 1) - 1)).clamp(min=1e-8)


def quantize_per_channel(w, bits=8, axis=0):
    scales = channel_scales(w, bits, axis)
    return quantize(w, scales, bits), scales


def dequantize_per_channel(q, scales):
    return q.float() * scales
