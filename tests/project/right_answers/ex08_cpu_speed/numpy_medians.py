"""NumPy medians and NumPy numbers; the pairs alternate in order (A B, B A); fbgemm with a per-channel qconfig for
dynamic_int8."""

import time

import numpy as np
import torch
from torch import nn
from torch.ao.quantization import per_channel_dynamic_qconfig, quantize_dynamic


def dynamic_int8(model):
    return quantize_dynamic(model, {nn.Linear: per_channel_dynamic_qconfig}, dtype=torch.qint8)


def fast_int8(model):
    before, threads = torch.backends.quantized.engine, torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        best = None
        for engine in torch.backends.quantized.supported_engines:
            if engine in ("none", "qnnpack"):
                continue
            torch.backends.quantized.engine = engine
            made = quantize_dynamic(model, {nn.Linear}, dtype=torch.qint8)
            layers = [m for m in made.modules() if isinstance(m, torch.ao.nn.quantized.dynamic.Linear)]
            x = torch.randn(128, layers[0].in_features)
            seconds = median_latency(lambda: layers[0](x), 2, 11)
            if best is None or seconds < best[0]:
                best = seconds, made
        return best[1]
    finally:
        torch.backends.quantized.engine = before
        torch.set_num_threads(threads)


def median_latency(fn, warmup=3, repeats=20, clock=time.perf_counter):
    [fn() for _ in range(warmup)]
    t = np.empty(repeats)
    for i in range(repeats):
        t[i] = -clock()
        fn()
        t[i] += clock()
    return np.median(t)


def paired_speedup(baseline, candidate, rounds=21, clock=time.perf_counter):
    def seconds(fn):
        start = clock()
        fn()
        return clock() - start

    ratios = []
    for i in range(rounds):
        if i % 2:
            c, b = seconds(candidate), seconds(baseline)
        else:
            b, c = seconds(baseline), seconds(candidate)
        ratios.append(b / c)
    return np.median(ratios)
