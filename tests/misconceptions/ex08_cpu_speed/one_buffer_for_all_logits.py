"""Returns one tensor of logits, which each call fills again. Whose tensor is a result?"""

# caught by: test_fast_int8_really_is_int8
# says: called fast_int8(gpt)(x), call 1 of 2, looked at when all calls were made ... got logits off by

import contextlib
import statistics
import time
import warnings

import torch
from torch import nn


def dynamic_int8(model):
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return torch.ao.quantization.quantize_dynamic(model, {nn.Linear}, dtype=torch.qint8)


class Reused(nn.Module):
    def __init__(self, model):
        super().__init__()
        self.model, self.logits = model, None

    def forward(self, ids):
        logits = self.model(ids)
        if self.logits is None or self.logits.shape != logits.shape:
            self.logits = torch.empty_like(logits)
        return self.logits.copy_(logits)


def fast_int8(model):
    linear, x, latency = nn.Linear(512, 2048), torch.randn(128, 512), {}
    for name in torch.backends.quantized.supported_engines:
        with engine(name), contextlib.suppress(RuntimeError), torch.no_grad():
            candidate = dynamic_int8(nn.Sequential(linear))
            latency[name] = median_latency(lambda: candidate(x), 3, 15)
    with engine(min(latency, key=latency.get)):
        return Reused(dynamic_int8(model))


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
