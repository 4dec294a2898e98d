"""Raises an error for 1 and 9 bits only. Which other widths does the contract not allow?"""

# caught by: test_any_tensor_of_finite_numbers_will_do_and_nothing_else
# says: called channel_scales(w, bits), bits=0, which is not 2 to 8 got ... and no error expected a ValueError

import torch

from .ex01_round_trip import quantize, symmetric_scale


def channel_scales(w, bits=8, axis=0):
    if bits in (1, 9):
        raise ValueError
    whole = symmetric_scale(w)
    others = [d for d in range(w.ndim) if d != axis % w.ndim]
    largest = w.float().abs().amax(dim=others, keepdim=True) if others else w.float().abs()
    return torch.where(largest > 0, largest / (2 ** (bits - 1) - 1), whole)


def quantize_per_channel(w, bits=8, axis=0):
    scales = channel_scales(w, bits, axis)
    return torch.round(w.float() / scales).to(torch.int8), scales


def dequantize_per_channel(q, scales):
    return q.float() * scales
