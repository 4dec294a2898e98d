"""Writes the codes of every call into the same tensor, to save memory. What is left of the codes of the call before?"""

# caught by: test_any_tensor_of_finite_numbers_will_do
# says: called quantize(w, scale, 4), call 1 of 3, looked at when all calls were made got code ... expected code

import torch

buffers = {}


def symmetric_scale(w, bits=8):
    check(w, bits)
    largest = w.float().abs().max()
    return torch.where(largest > 0, largest / (2 ** (bits - 1) - 1), 1.0)


def quantize(w, scale, bits=8):
    check(w, bits)
    qmax = 2 ** (bits - 1) - 1
    out = buffers.setdefault(w.shape, torch.empty(w.shape, dtype=torch.int8))
    return out.copy_(torch.round(w.float() / scale).clamp(-qmax, qmax))


def dequantize(q, scale):
    return q.float() * scale


def round_trip(w, bits=8):
    scale = symmetric_scale(w, bits)
    return dequantize(quantize(w, scale, bits), scale)


def check(w, bits):
    if not 2 <= bits <= 8 or w.numel() == 0 or not torch.isfinite(w).all():
        raise ValueError
