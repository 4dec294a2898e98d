"""Everything in torch float64, the scale as a Python float that was never rounded to float32."""

import math

import torch


def _check(w, bits):
    if not 2 <= bits <= 8:
        raise ValueError("bits")
    if not w.nelement():
        raise ValueError("empty")
    if not math.isfinite(w.double().abs().sum().item()):
        raise ValueError("not finite")


def symmetric_scale(w, bits=8):
    _check(w, bits)
    return w.float().double().abs().max().item() / (2 ** (bits - 1) - 1) or 1.0


def quantize(w, scale, bits=8):
    _check(w, bits)
    top = 2 ** (bits - 1) - 1
    return torch.special.round(w.float().double().div(float(scale))).clip(-top, top).type(torch.int8)


def dequantize(q, scale):
    return (q.double() * scale).float()


def round_trip(w, bits=8):
    s = symmetric_scale(w, bits)
    return dequantize(quantize(w, s, bits), s)
