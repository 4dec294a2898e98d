"""Layers on torch._int_mm that keep a float workspace from call to call, and hand out copies; sorting by heapq."""

# speed: depends on the processor

import copy
import heapq
import time

import torch
from torch import nn


class WorkspaceLinear(nn.Module):
    def __init__(self, linear):
        super().__init__()
        w = linear.weight.detach()
        s = (w.abs().amax(1) / 127).clamp(min=1e-30)
        self.register_buffer("codes", (w / s[:, None]).round().to(torch.int8))
        self.register_buffer("scales", s)
        self.register_buffer("bias", torch.zeros(len(s)) if linear.bias is None else linear.bias.detach().clone())
        self.work = torch.empty(0)

    def forward(self, x):
        flat = x.flatten(0, -2)
        if self.work.shape[0] != len(flat):
            self.work = torch.empty(len(flat), len(self.scales))
        s = (flat.abs().amax(1, keepdim=True) / 127).clamp(min=1e-30)
        q = (flat / s).round().to(torch.int8)
        self.work.copy_(torch._int_mm(q, self.codes.t()))
        self.work.mul_(s).mul_(self.scales).add_(self.bias)
        return self.work.clone().unflatten(0, x.shape[:-1])


def dynamic_int8(model):
    return torch.ao.quantization.quantize_dynamic(copy.deepcopy(model), {nn.Linear}, torch.qint8, inplace=True)


def fast_int8(model):
    return copy.deepcopy(model, {id(m): WorkspaceLinear(m) for m in model.modules() if isinstance(m, nn.Linear)})


def _middle(values):
    n = len(values)
    small = heapq.nsmallest(n // 2 + 1, values)
    return small[-1] if n % 2 else (small[-1] + small[-2]) / 2


def _time(fn, clock):
    start = clock()
    fn()
    return clock() - start


def median_latency(fn, warmup=3, repeats=20, clock=time.perf_counter):
    times = [_time(fn, clock) for _ in range(warmup + repeats)]
    return _middle(times[warmup:])


def paired_speedup(baseline, candidate, rounds=21, clock=time.perf_counter):
    return _middle([_time(baseline, clock) / _time(candidate, clock) for _ in range(rounds)])
