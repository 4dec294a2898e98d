"""All full windows in batches of 8, the ragged tail on its own, float64 log_softmax and gather."""

import math

import torch


def perplexity(model, tokens, context):
    n = tokens.numel() - 1
    if n < 1:
        raise ValueError("too short")
    was = {m: m.training for m in model.modules()}
    model.eval()
    total = 0.0
    try:
        with torch.no_grad():
            full = n // context
            x = tokens[: full * context].view(full, context)
            y = tokens[1 : full * context + 1].view(full, context)
            parts = list(zip(x.split(8), y.split(8), strict=True)) if full else []
            if n % context:
                parts.append((tokens[full * context : n][None], tokens[full * context + 1 :][None]))
            for a, b in parts:
                total -= model(a).double().log_softmax(-1).gather(-1, b[..., None]).sum().item()
    finally:
        for m, t in was.items():
            m.training = t
    return math.exp(total / n)


def drift(before, after):
    return (after - before) / before
