"""Finds codes by searching among the grid's midpoints, with ties sorted out afterwards, and looks values up in a
table."""

import torch


def _grid(w, bits):
    if not isinstance(bits, int) or bits < 2 or bits > 8:
        raise ValueError(f"{bits=}")
    if 0 in w.shape or not (w.abs() < float("inf")).all():
        raise ValueError(f"{w.shape=}")
    last = 2 ** (bits - 1) - 1
    return torch.arange(-last, last + 1, dtype=torch.float64), last


def symmetric_scale(w, bits=8):
    _, last = _grid(w, bits)
    s = torch.linalg.vector_norm(w.float(), float("inf")) / last
    return s + (s == 0)


def quantize(w, scale, bits=8):
    grid, last = _grid(w, bits)
    middle = (grid[:-1] + grid[1:]) / 2
    ratio = w.float().double() / float(scale)
    low = torch.bucketize(ratio, middle, right=False) - last  # a tie goes down
    high = torch.bucketize(ratio, middle, right=True) - last  # a tie goes up
    return torch.where(low % 2 == 0, low, high).to(torch.int8)


def dequantize(q, scale):
    table = torch.arange(-128, 128).double() * float(scale)
    return table[q.long() + 128].float()


def round_trip(w, bits=8):
    s = symmetric_scale(w, bits)
    return dequantize(quantize(w, s, bits), s)
