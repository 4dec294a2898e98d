"""Own modules on oneDNN's qlinear with weights packed for it: the codes are kept twice, plain in the state dict and
packed."""

import copy
import statistics
import time

import torch
from torch import nn


class Packed(nn.Module):
    def __init__(self, linear):
        super().__init__()
        w = linear.weight.detach()
        s = (w.abs().amax(1, keepdim=True) / 127).clamp(min=1e-30)
        self.register_buffer("codes", (w / s).round().to(torch.int8))
        self.register_buffer("scales", s.flatten())
        self.register_buffer("zeros", torch.zeros(len(s), dtype=torch.int64))
        self.register_buffer("bias", None if linear.bias is None else linear.bias.detach().clone())
        self.packed = torch.ops.onednn.qlinear_prepack(self.codes, None)

    def forward(self, x):
        s = (x.abs().max() / 127).clamp(min=1e-30)
        q = torch.quantize_per_tensor(x, s.item(), 128, torch.quint8).int_repr()
        return torch.ops.onednn.qlinear_pointwise(
            q, s.item(), 128, self.packed, self.scales, self.zeros, self.bias, 1.0, 0, torch.float32, "none", [], ""
        )


def dynamic_int8(model):
    return torch.ao.quantization.quantize_dynamic(
        model, {nn.Linear: torch.ao.quantization.default_dynamic_qconfig}, dtype=torch.qint8
    )


def fast_int8(model):
    return copy.deepcopy(model, {id(m): Packed(m) for m in model.modules() if isinstance(m, nn.Linear)})


def median_latency(fn, warmup=3, repeats=20, clock=time.perf_counter):
    for _ in range(warmup):
        fn()
    times = []
    for _ in range(repeats):
        start = clock()
        fn()
        times.append(clock() - start)
    return float(torch.tensor(times, dtype=torch.float64).sort().values[[(repeats - 1) // 2, repeats // 2]].mean())


def paired_speedup(baseline, candidate, rounds=21, clock=time.perf_counter):
    a, b = [], []
    for _ in range(rounds):
        for fn, times in ((baseline, a), (candidate, b)):
            start = clock()
            fn()
            times.append(clock() - start)
    return statistics.median(x / y for x, y in zip(a, b, strict=True))
