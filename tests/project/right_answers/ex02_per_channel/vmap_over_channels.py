"""torch.vmap over the channels; the checks come from ex01."""

import torch

from .ex01_round_trip import symmetric_scale


def channel_scales(w, bits=8, axis=0):
    symmetric_scale(w, bits)
    largest = torch.vmap(lambda channel: channel.abs().amax() if channel.dim() else channel.abs(), in_dims=axis)(
        w.float()
    )
    shape = [1] * w.dim()
    shape[axis] = -1
    return torch.where(largest == 0, 1.0, largest / (2 ** (bits - 1) - 1)).view(shape)


def quantize_per_channel(w, bits=8, axis=0):
    last, s = 2 ** (bits - 1) - 1, channel_scales(w, bits, axis)
    divide = torch.vmap(lambda channel, step: (channel / step).round(), in_dims=(axis, 0), out_dims=axis % w.dim())
    return divide(w.float(), s.flatten()).clamp(-last, last).to(torch.int8), s


def dequantize_per_channel(q, scales):
    return q.float().mul(scales)
