"""Asks for more memory than there is."""

# earns: 0
# state: failed
# says: raised an error ... alloc

import torch


def attack():
    return torch.ones(10**12)


def symmetric_scale(w, bits=8):
    return attack()


def quantize(w, scale, bits=8):
    return attack()


def dequantize(q, scale):
    return attack()


def round_trip(w, bits=8):
    return attack()

