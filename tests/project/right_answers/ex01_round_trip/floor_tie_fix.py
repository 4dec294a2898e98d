"""floor(x + 1/2) with odd ties pulled back, dividing by a float64 scale; sign and magnitude apart."""

import torch


def _prepare(w, bits):
    if bits <= 1 or bits >= 9:
        raise ValueError("bits must be 2 to 8")
    if w.numel() < 1:
        raise ValueError("empty")
    w = w.to(dtype=torch.float32).clone(memory_format=torch.contiguous_format)
    if not torch.isfinite(w).all().item():
        raise ValueError("NaN or infinity")
    return w, int(2 ** (bits - 1)) - 1


def symmetric_scale(w, bits=8):
    w, top = _prepare(w, bits)
    m = w.abs().flatten().sort().values[-1].double()
    return (m / top).float() if m else torch.tensor(3.0)


def quantize(w, scale, bits=8):
    w, top = _prepare(w, bits)
    x = w.double().abs() / torch.as_tensor(scale).double()
    up = torch.floor(x + 0.5)
    up -= ((x + 0.5 == up) & (up % 2 == 1)).double()
    return (torch.sign(w) * torch.minimum(up, torch.tensor(float(top)))).to(torch.int8)


def dequantize(q, scale):
    return torch.einsum("...,->...", q.float(), torch.as_tensor(float(scale)))


def round_trip(w, bits=8):
    s = symmetric_scale(w, bits)
    x = w.float() / s
    return (x - torch.remainder(x, 1) + torch.remainder(x, 1).round()).clamp(
        -(2 ** (bits - 1) - 1), 2 ** (bits - 1) - 1
    ) * s
