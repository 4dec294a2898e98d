"""Takes memory piece by piece, and touches all of it."""

# earns: 0
# state: crashed
# says: of memory, and was ended

import torch

KEPT = []


def attack():
    for _ in range(24):
        KEPT.append(torch.ones(64 << 20))
    return None


def symmetric_scale(w, bits=8):
    return attack()


def quantize(w, scale, bits=8):
    return attack()


def dequantize(q, scale):
    return attack()


def round_trip(w, bits=8):
    return attack()

