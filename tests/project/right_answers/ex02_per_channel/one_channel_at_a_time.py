"""Takes channels apart with unbind, calls ex01 on each, and stacks the results; results are not contiguous."""

import torch

from .ex01_round_trip import dequantize, quantize, symmetric_scale


def channel_scales(w, bits=8, axis=0):
    symmetric_scale(w, bits)
    scales = [float(symmetric_scale(part, bits)) for part in w.unbind(axis)]
    shape = [1 for _ in w.shape]
    shape[axis] = len(scales)
    return torch.tensor(scales).reshape(shape)


def quantize_per_channel(w, bits=8, axis=0):
    scales = channel_scales(w, bits, axis)
    parts = [quantize(p, s, bits) for p, s in zip(w.unbind(axis), scales.flatten(), strict=True)]
    return torch.stack(parts, dim=axis), scales


def dequantize_per_channel(q, scales):
    axis = max(range(q.ndim), key=lambda d: scales.shape[d])
    parts = [dequantize(p, s) for p, s in zip(q.unbind(axis), scales.flatten().tolist(), strict=True)]
    return torch.stack(parts).movedim(0, axis)
