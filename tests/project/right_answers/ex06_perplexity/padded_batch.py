"""One rectangular batch: the tail is padded and its surplus targets are ignored (-100), a few windows a call."""

import torch
from torch.nn import functional as F


def perplexity(model, tokens, context):
    n = len(tokens) - 1
    if n < 1:
        raise ValueError("at least two tokens")
    context = min(context, n)
    missing = -n % context
    x = F.pad(tokens[:-1], (0, missing)).view(-1, context)
    y = F.pad(tokens[1:], (0, missing), value=-100).view(-1, context)
    modes = {name: m.training for name, m in model.named_modules()}
    total = torch.zeros((), dtype=torch.float64)
    try:
        model.eval()
        with torch.set_grad_enabled(False):
            for a, b in zip(x.chunk(-(-len(x) // 4)), y.chunk(-(-len(y) // 4)), strict=True):
                total += F.cross_entropy(model(a).flatten(0, 1), b.flatten(), reduction="sum")
    finally:
        for name, m in model.named_modules():
            m.training = modes[name]
    return float((total / n).exp())


def drift(before, after):
    return (after - before) / before
