"""PyTorch's own kernels: fake_quantize_per_tensor_affine, and quantize_per_tensor's int_repr for the codes."""

import torch


def _last(w, bits):
    if bits < 2 or bits > 8:
        raise ValueError("bits out of range")
    if w.numel() == 0 or torch.isnan(w).any() or torch.isinf(w).any():
        raise ValueError("w has nothing finite to quantize")
    return 2 ** (bits - 1) - 1


def symmetric_scale(w, bits=8):
    last = _last(w, bits)
    low, high = torch.aminmax(w.float())
    return torch.where((high - low > 0) | (high != 0), torch.max(-low, high) / last, torch.tensor(1.0))


def quantize(w, scale, bits=8):
    last = _last(w, bits)
    q = torch.quantize_per_tensor(w.float().contiguous(), float(scale), 0, torch.qint8).int_repr()
    return q.clamp(-last, last)


def dequantize(q, scale):
    return torch._make_per_tensor_quantized_tensor(q.contiguous(), float(scale), 0).dequantize()


def round_trip(w, bits=8):
    last = _last(w, bits)
    return torch.fake_quantize_per_tensor_affine(w.float(), float(symmetric_scale(w, bits)), 0, -last, last)
