"""PyTorch's quantize_per_channel for the codes and its per-channel quantized tensor for the way back."""

import torch


def _check(w, bits):
    if not 2 <= bits <= 8 or not w.numel() or not torch.isfinite(w).all():
        raise ValueError("w or bits")


def channel_scales(w, bits=8, axis=0):
    _check(w, bits)
    axis %= w.ndim
    low, high = w.float(), w.float()
    for d in range(w.ndim):
        if d != axis:
            low, high = low.amin(d, keepdim=True), high.amax(d, keepdim=True)
    s = torch.max(-low, high) / (2 ** (bits - 1) - 1)
    return torch.where(s > 0, s, torch.ones_like(s))


def quantize_per_channel(w, bits=8, axis=0):
    s = channel_scales(w, bits, axis)
    axis %= w.ndim
    # these kernels keep scales as float64 and refuse tiny ones in no way
    zero = torch.zeros(w.shape[axis], dtype=torch.int64)
    q = torch.quantize_per_channel(w.float().contiguous(), s.flatten().double(), zero, axis, torch.qint8)
    top = 2 ** (bits - 1) - 1
    return q.int_repr().clamp(-top, top), s


def dequantize_per_channel(q, scales):
    axis = next((d for d in range(q.ndim) if scales.shape[d] > 1), 0)
    zero = torch.zeros(q.shape[axis], dtype=torch.int64)
    return torch._make_per_channel_quantized_tensor(q.contiguous(), scales.flatten().double(), zero, axis).dequantize()
