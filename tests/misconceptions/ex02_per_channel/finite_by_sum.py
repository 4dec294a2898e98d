"""Tells NaN and infinity by the sum of all weights. How large can a sum of finite numbers get?"""

# caught by: test_any_tensor_of_finite_numbers_will_do_and_nothing_else
# says: called quantize_per_channel(float32 (...)) ... raised ValueError: w or bits

import torch

from .ex01_round_trip import quantize, symmetric_scale


def channel_scales(w, bits=8, axis=0):
    if w.numel() == 0 or not 2 <= bits <= 8 or not torch.isfinite(w.float().sum()):
        raise ValueError("w or bits")
    others = [d for d in range(w.ndim) if d != axis % w.ndim]
    largest = w.float().abs().amax(dim=others, keepdim=True) if others else w.float().abs()
    return torch.where(largest > 0, largest / (2 ** (bits - 1) - 1), 1.0)


def quantize_per_channel(w, bits=8, axis=0):
    scales = channel_scales(w, bits, axis)
    qmax = 2 ** (bits - 1) - 1
    return torch.round(w.float() / scales).clamp(-qmax, qmax).to(torch.int8), scales


def dequantize_per_channel(q, scales):
    return q.float() * scales
