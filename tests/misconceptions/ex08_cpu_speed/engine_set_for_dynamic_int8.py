"""Sets an engine for dynamic_int8 and leaves it. Which engine had the caller?"""

# caught by: test_dynamic_int8_leaves_all_else_as_it_was
# says: called dynamic_int8(model) ... got torch.backends.quantized.engine is now ... expected ..., as before

import contextlib
import statistics
import time
import warnings

import torch
from torch import nn


def dynamic_int8(model):
    torch.backends.quantized.engine = torch.backends.quantized.supported_engines[-1]
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return torch.ao.quantization.quantize_dynamic(model, {nn.Linear}, dtype=torch.qint8)


def fast_int8(model):
    linear, x, latency = nn.Linear(512, 2048), torch.randn(128, 512), {}
    for name in torch.backends.quantized.supported_engines:
        with engine(name), contextlib.suppress(RuntimeError), torch.no_grad():
            candidate = dynamic_int8(nn.Sequential(linear))
            latency[name] = median_latency(lambda: candidate(x), 3, 15)
    with engine(min(latency, key=latency.get)):
        return dynamic_int8(model)


def median_latency(fn, warmup=3, repeats=20, clock=time.perf_counter):
    for _ in range(warmup):
        fn()
    return statistics.median(seconds(fn, clock) for _ in range(repeats))


def paired_speedup(baseline, candidate, rounds=21, clock=time.perf_counter):
    return statistics.median(seconds(baseline, clock) / seconds(candidate, clock) for _ in range(rounds))


def seconds(fn, clock):
    began = clock()
    fn()
    return clock() - began


@contextlib.contextmanager
def engine(name):
    before = torch.backends.quantized.engine
    torch.backends.quantized.engine = name
    try:
        yield
    finally:
        torch.backends.quantized.engine = before
