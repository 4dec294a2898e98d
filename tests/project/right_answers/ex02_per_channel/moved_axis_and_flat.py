"""Moves the kept axis to the front, flattens the rest, works on a matrix, and moves it back (strides differ)."""

import torch


def _matrix(w, bits, axis):
    if int(bits) not in list(range(2, 9)):
        raise ValueError("bits")
    if w.numel() == 0:
        raise ValueError("empty")
    w = w.float()
    if not w.isfinite().all():
        raise ValueError("not finite")
    return w.swapaxes(0, axis).flatten(1) if w.ndim > 1 else w[:, None]


def _like(flat, w, axis):
    return flat.view(w.swapaxes(0, axis).shape).swapaxes(0, axis)


def channel_scales(w, bits=8, axis=0):
    m = torch.linalg.norm(_matrix(w, bits, axis), ord=float("inf"), dim=1)
    m = torch.where(m == 0, torch.full_like(m, 2.0), m).div(2 ** (bits - 1) - 1)
    return m.view(*(-1 if d == axis % w.ndim else 1 for d in range(w.ndim)))


def quantize_per_channel(w, bits=8, axis=0):
    s = channel_scales(w, bits, axis)
    m = _matrix(w, bits, axis)
    top = 2 ** (bits - 1) - 1
    q = m.div(s.flatten()[:, None]).round().clamp(-top, top).to(torch.int8)
    return _like(q, w, axis), s


def dequantize_per_channel(q, scales):
    return torch.addcmul(torch.zeros(q.shape), q.float(), scales.expand(q.shape))
