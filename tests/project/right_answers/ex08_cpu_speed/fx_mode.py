"""FX graph mode dynamic quantization for both; medians by statistics of a deque; one warm-up pair."""

import collections
import copy
import statistics
import time
import warnings

import torch
from torch import nn
from torch.ao.quantization import QConfigMapping, default_dynamic_qconfig
from torch.ao.quantization.quantize_fx import convert_fx, prepare_fx


def dynamic_int8(model):
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        mapping = QConfigMapping().set_object_type(nn.Linear, default_dynamic_qconfig)
        return convert_fx(prepare_fx(copy.deepcopy(model).eval(), mapping, (torch.zeros(1, 4, dtype=torch.int64),)))


def fast_int8(model):
    before = torch.backends.quantized.engine
    torch.backends.quantized.engine = "onednn"
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            return torch.ao.quantization.quantize_dynamic(model, {nn.Linear}, dtype=torch.qint8)
    finally:
        torch.backends.quantized.engine = before


def median_latency(fn, warmup=3, repeats=20, clock=time.perf_counter):
    last = collections.deque(maxlen=repeats)
    for _ in range(warmup + repeats):
        start = clock()
        fn()
        last.append(clock() - start)
    return statistics.median(last)


def paired_speedup(baseline, candidate, rounds=21, clock=time.perf_counter):
    ratios = collections.deque(maxlen=rounds)
    for _ in range(rounds + 1):
        start = clock()
        baseline()
        middle = clock()
        candidate()
        ratios.append((middle - start) / (clock() - middle))
    return statistics.median(ratios)
