"""Replaces one Linear after the other by PyTorch's own layer; ratios as fractions of floats; exact medians."""

import copy
import time
from fractions import Fraction

import torch
from torch import nn


def dynamic_int8(model):
    holder = nn.Module()
    holder.model = copy.deepcopy(model)
    torch.ao.quantization.quantize_dynamic(holder, {nn.Linear}, torch.qint8, inplace=True)
    return holder.model


def fast_int8(model):
    before = torch.backends.quantized.engine
    names = [name for name in ("onednn", "x86", "qnnpack") if name in torch.backends.quantized.supported_engines]
    torch.backends.quantized.engine = names[0]
    try:
        fast = copy.deepcopy(model)
        for name, module in model.named_modules():
            if type(module) is nn.Linear:
                new = dynamic_int8(nn.Sequential(module))[0]
                parent, _, last = name.rpartition(".")
                setattr(fast.get_submodule(parent), last, new)
        return fast
    finally:
        torch.backends.quantized.engine = before


def _median(values):
    values = sorted(Fraction(v) for v in values)
    half = len(values) // 2
    return float(values[half] if len(values) % 2 else (values[half] + values[half - 1]) / 2)


def _seconds(fn, clock):
    start = clock()
    fn()
    return clock() - start


def median_latency(fn, warmup=3, repeats=20, clock=time.perf_counter):
    all_of_them = [_seconds(fn, clock) for _ in range(warmup)] + [_seconds(fn, clock) for _ in range(repeats)]
    return _median(all_of_them[-repeats:])


def paired_speedup(baseline, candidate, rounds=21, clock=time.perf_counter):
    both = [(_seconds(baseline, clock), _seconds(candidate, clock)) for _ in range(rounds)]
    return _median(Fraction(b) / Fraction(c) for b, c in both)
