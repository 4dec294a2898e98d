"""Writes every reconstruction into the same tensor. What is left of the weights of the call before?"""

# caught by: test_any_tensor_of_finite_numbers_will_do_and_nothing_else
# says: called dequantize_per_channel(q, scales), call 1 of 3, looked at when all calls were made got ... expected

import torch

from .ex01_round_trip import quantize, symmetric_scale

buffers = {}


def channel_scales(w, bits=8, axis=0):
    whole = symmetric_scale(w, bits)
    others = [d for d in range(w.ndim) if d != axis % w.ndim]
    largest = w.float().abs().amax(dim=others, keepdim=True) if others else w.float().abs()
    return torch.where(largest > 0, largest / (2 ** (bits - 1) - 1), whole)


def quantize_per_channel(w, bits=8, axis=0):
    scales = channel_scales(w, bits, axis)
    return quantize(w, scales, bits), scales


def dequantize_per_channel(q, scales):
    return torch.mul(q, scales, out=buffers.setdefault(q.shape, torch.empty(q.shape)))
