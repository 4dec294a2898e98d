"""The control: a right answer that prints a little, writes a file, and starts a program."""

# earns: 10
# state: passed
# says:

import contextlib
import os
import subprocess
import sys
import tempfile

import torch

with contextlib.redirect_stdout(open(os.devnull, "w")), tempfile.TemporaryFile("w") as file:
    print(subprocess.run([sys.executable, "-c", "print(1)"], check=True, capture_output=True).stdout, file=file)


def symmetric_scale(w, bits=8):
    w = torch.as_tensor(w).float()
    if not 2 <= bits <= 8 or w.numel() == 0 or not w.isfinite().all():
        raise ValueError("w or bits")
    largest = w.abs().max()
    return torch.where(largest > 0, largest / (2 ** (bits - 1) - 1), 1.0)


def quantize(w, scale, bits=8):
    w = torch.as_tensor(w).float()
    if not 2 <= bits <= 8 or w.numel() == 0 or not w.isfinite().all():
        raise ValueError("w or bits")
    qmax = 2 ** (bits - 1) - 1
    return (w / scale).round().clamp(-qmax, qmax).to(torch.int8)


def dequantize(q, scale):
    print("dequantize was here")
    return q.float() * scale


def round_trip(w, bits=8):
    scale = symmetric_scale(w, bits)
    return dequantize(quantize(w, scale, bits), scale)

