"""The scale is a Python number, computed in float64; codes by floor and a half, repaired at ties."""

import math

import torch


def _last(w, bits):
    if bits in range(2, 9) and w.numel() and math.isfinite(float(w.float().abs().max())):
        return 2 ** (bits - 1) - 1
    raise ValueError(f"cannot quantize {tuple(w.shape)} to {bits} bits")


@torch.inference_mode()
def symmetric_scale(w, bits=8):
    last = _last(w, bits)
    low, high = torch.aminmax(w.float())
    return max(-float(low), float(high)) / last or 0.5


def quantize(w, scale, bits=8):
    last = _last(w, bits)
    x = w.float().double() / float(scale)
    up = torch.floor(x + 0.5)
    tie_on_odd = (up - x == 0.5) & (up.remainder(2) == 1)
    return (up - tie_on_odd.double()).clip(-last, last).to(torch.int8)


def dequantize(q, scale):
    return (
        torch.tensor(scale, dtype=torch.float64).mul(q.double()).to(torch.float32)
        if not torch.is_tensor(scale)
        else (scale.double() * q).float()
    )


def round_trip(w, bits=8):
    scale = symmetric_scale(w, bits)
    return dequantize(quantize(w, scale, bits), scale)
