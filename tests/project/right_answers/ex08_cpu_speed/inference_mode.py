"""All in inference mode; a weight has a scale a row in PyTorch's own layers; medians from statistics.quantiles."""

import statistics
import time

import torch
from torch import nn
from torch.ao.quantization import per_channel_dynamic_qconfig


@torch.inference_mode()
def dynamic_int8(model):
    return torch.ao.quantization.quantize_dynamic(model, {nn.Linear: per_channel_dynamic_qconfig}, torch.qint8)


@torch.inference_mode()
def fast_int8(model):
    before, best = torch.backends.quantized.engine, None
    x = torch.rand(128, 512)
    for engine in torch.backends.quantized.supported_engines:
        torch.backends.quantized.engine = engine
        try:
            layer = dynamic_int8(nn.Sequential(nn.Linear(512, 512), nn.Linear(512, 512)))
            seconds = median_latency(lambda: layer(x), 2, 9)
        except RuntimeError:
            continue
        finally:
            torch.backends.quantized.engine = before
        best = min(best or (seconds, engine), (seconds, engine))
    torch.backends.quantized.engine = best[1]
    try:
        return dynamic_int8(model)
    finally:
        torch.backends.quantized.engine = before


def _median(values):
    return values[0] if len(values) == 1 else statistics.quantiles(values, n=2, method="inclusive")[0]


def median_latency(fn, warmup=3, repeats=20, clock=time.perf_counter):
    for _ in range(warmup):
        fn()
    times = []
    for _ in range(repeats):
        began = clock()
        fn()
        times.append(clock() - began)
    return _median(times)


def paired_speedup(baseline, candidate, rounds=21, clock=time.perf_counter):
    ratios = []
    while len(ratios) < rounds:
        marks = [clock()]
        for fn in (baseline, candidate):
            fn()
            marks.append(clock())
        ratios.append((marks[1] - marks[0]) / (marks[2] - marks[1]))
    return _median(ratios)
