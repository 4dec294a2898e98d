"""Plain Python floats and the built-in round, one weight at a time."""

import math

import torch


def _numbers(w, bits):
    numbers = w.float().flatten().tolist()
    if bits < 2 or bits > 8 or not numbers or not all(map(math.isfinite, numbers)):
        raise ValueError("w or bits")
    return numbers


def symmetric_scale(w, bits=8):
    biggest = max(abs(v) for v in _numbers(w, bits))
    return torch.tensor(biggest / (2 ** (bits - 1) - 1) if biggest else 0.5)


def quantize(w, scale, bits=8):
    last, scale = 2 ** (bits - 1) - 1, float(scale)
    codes = [max(-last, min(last, round(v / scale))) for v in _numbers(w, bits)]
    return torch.tensor(codes, dtype=torch.int8).view(w.shape)


def dequantize(q, scale):
    return torch.tensor([c * float(scale) for c in q.reshape(-1).tolist()]).view(q.shape)


def round_trip(w, bits=8):
    s = float(symmetric_scale(w, bits))
    last = 2 ** (bits - 1) - 1
    return torch.tensor([s * max(-last, min(last, round(v / s))) for v in _numbers(w, bits)]).reshape(w.shape)
