"""Swaps PyTorch's own dynamic Linears in by hand with from_float, and times single Linears of the model's own
shapes."""

import copy
import statistics
import time
import warnings

import torch
from torch import nn


def dynamic_int8(model):
    model = copy.deepcopy(model)
    spec = {
        name: torch.ao.quantization.default_dynamic_qconfig for name, m in model.named_modules() if type(m) is nn.Linear
    }
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        torch.ao.quantization.quantize_dynamic(model, spec, dtype=torch.qint8, inplace=True)
    return model


def fast_int8(model):
    with (
        torch.backends.quantized.flags(engine="x86")
        if hasattr(torch.backends.quantized, "flags")
        else _engine("onednn")
    ):
        model = copy.deepcopy(model)
        memo = {}
        for m in model.modules():
            if isinstance(m, nn.Linear):
                m.qconfig = torch.ao.quantization.default_dynamic_qconfig
                memo[id(m)] = torch.ao.nn.quantized.dynamic.Linear.from_float(m)
        for parent in list(model.modules()):
            for name, child in list(parent._modules.items()):
                if id(child) in memo:
                    setattr(parent, name, memo[id(child)])
        return model


class _engine:
    def __init__(self, name):
        self.name = name

    def __enter__(self):
        self.before = torch.backends.quantized.engine
        torch.backends.quantized.engine = self.name

    def __exit__(self, *_):
        torch.backends.quantized.engine = self.before


def median_latency(fn, warmup=3, repeats=20, clock=time.perf_counter):
    for _ in range(warmup):
        clock(), fn(), clock()
    marks = [(clock(), fn(), clock()) for _ in range(repeats)]
    return torch.tensor([b - a for a, _, b in marks], dtype=torch.float64).quantile(0.5)


def paired_speedup(baseline, candidate, rounds=21, clock=time.perf_counter):
    pairs = []
    for _ in range(rounds):
        t0 = clock()
        baseline()
        t1 = clock()
        t2 = clock()
        candidate()
        t3 = clock()
        pairs.append((t1 - t0, t3 - t2))
    return statistics.median([a / b for a, b in pairs])
