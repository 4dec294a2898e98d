"""The engine is named (onednn, else what is set), statistics.median, three warm-up pairs in paired_speedup."""

import copy
import statistics
import time

import torch
from torch import nn


def dynamic_int8(model):
    return torch.ao.quantization.quantize_dynamic(model, {nn.Linear}, dtype=torch.qint8)


def fast_int8(model):
    before = torch.backends.quantized.engine
    for name in ("onednn", "x86", "fbgemm", "qnnpack"):
        if name in torch.backends.quantized.supported_engines:
            try:
                torch.backends.quantized.engine = name
                return dynamic_int8(copy.deepcopy(model))
            finally:
                torch.backends.quantized.engine = before


def median_latency(fn, warmup=3, repeats=20, clock=time.perf_counter):
    times = []
    for i in range(warmup + repeats):
        start = clock()
        fn()
        stop = clock()
        if i >= warmup:
            times.append(stop - start)
    return statistics.median(times)


def paired_speedup(baseline, candidate, rounds=21, clock=time.perf_counter):
    for _ in range(3):
        baseline(), candidate()
    ratios = []
    for _ in range(rounds):
        a = clock()
        baseline()
        b = clock()
        candidate()
        c = clock()
        ratios.append((b - a) / (c - b))
    return statistics.median(ratios)
