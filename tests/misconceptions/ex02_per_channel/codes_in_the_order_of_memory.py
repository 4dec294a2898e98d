"""Gives the codes the strides of a contiguous tensor. In which order do the numbers of w lie in memory?"""

# caught by: test_any_tensor_of_finite_numbers_will_do_and_nothing_else
# says: called quantize_per_channel(w), a transposed view -> q got code ... expected code

import torch

from .ex01_round_trip import quantize, symmetric_scale


def channel_scales(w, bits=8, axis=0):
    whole = symmetric_scale(w, bits)
    others = [d for d in range(w.ndim) if d != axis % w.ndim]
    largest = w.float().abs().amax(dim=others, keepdim=True) if others else w.float().abs()
    return torch.where(largest > 0, largest / (2 ** (bits - 1) - 1), whole)


def quantize_per_channel(w, bits=8, axis=0):
    scales = channel_scales(w, bits, axis)
    q = quantize(w, scales, bits)
    return torch.as_strided(q, q.shape, torch.empty(q.shape).stride()), scales


def dequantize_per_channel(q, scales):
    return q.float() * scales
