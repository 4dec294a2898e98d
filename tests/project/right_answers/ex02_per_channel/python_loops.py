"""Python loops over every index with built-in round."""

import itertools
import math

import torch


def channel_scales(w, bits=8, axis=0):
    return quantize_per_channel(w, bits, axis)[1]


def quantize_per_channel(w, bits=8, axis=0):
    if bits < 2 or bits > 8:
        raise ValueError("bits")
    flat = w.float().reshape(-1).tolist()
    if not flat or any(not math.isfinite(v) for v in flat):
        raise ValueError("w")
    axis = axis + w.ndim if axis < 0 else axis
    last, largest = 2 ** (bits - 1) - 1, [0.0] * w.shape[axis]
    places = list(itertools.product(*map(range, w.shape)))
    for place, v in zip(places, flat, strict=True):
        largest[place[axis]] = max(largest[place[axis]], abs(v))
    steps = [m / last if m else 1.0 for m in largest]
    codes = [max(-last, min(last, round(v / steps[place[axis]]))) for place, v in zip(places, flat, strict=True)]
    shape = [1] * w.ndim
    shape[axis] = len(steps)
    return torch.tensor(codes, dtype=torch.int8).view(w.shape), torch.tensor(steps).view(shape)


def dequantize_per_channel(q, scales):
    values = [c * s for c, s in zip(q.flatten().tolist(), scales.expand(q.shape).flatten().tolist(), strict=True)]
    return torch.tensor(values).view(q.shape)
