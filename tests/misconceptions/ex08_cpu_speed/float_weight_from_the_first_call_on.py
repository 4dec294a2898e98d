"""Makes a float weight in the first call and keeps it. How much memory does the layer take then?"""

# caught by: test_fast_int8_really_is_int8
# says: called fast_int8(gpt), once it was called ... is a float32 tensor of shape ... expected no float copy

import contextlib
import copy
import statistics
import time
import warnings

import torch
from torch import nn


def dynamic_int8(model):
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return torch.ao.quantization.quantize_dynamic(model, {nn.Linear}, dtype=torch.qint8)


class Int8Linear(nn.Module):
    def __init__(self, linear):
        super().__init__()
        w = linear.weight.detach()
        scales = w.abs().amax(1, keepdim=True) / 127
        self.register_buffer("codes", (w / scales).round().to(torch.int8))
        self.register_buffer("scales", scales)
        self.register_buffer("bias", None if linear.bias is None else linear.bias.detach().clone())
        self.w = None

    def forward(self, x):
        if self.w is None:
            self.w = self.codes * self.scales
        return nn.functional.linear(x, self.w, self.bias)


def fast_int8(model):
    return copy.deepcopy(model, {id(m): Int8Linear(m) for m in model.modules() if isinstance(m, nn.Linear)})


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
