"""Logits in float64 and transposed, logsumexp minus the picked logit, the mean of single nats by statistics.fmean."""

import math
import statistics

import torch


def perplexity(model, tokens, context):
    if tokens.numel() < 2:
        raise ValueError(f"only {tokens.numel()} tokens")
    flags = {part: part.training for part in model.modules()}
    nats = []
    model.eval()
    try:
        for start in range(0, len(tokens) - 1, context):
            window = tokens[start : start + context + 1].clone()
            with torch.no_grad():
                z = model(window[None, :-1])[0].T.double().contiguous()  # (V, T)
            nats += (z.logsumexp(0) - z[window[1:], torch.arange(len(window) - 1)]).tolist()
    finally:
        for part, flag in flags.items():
            part.training = flag
    return math.exp(statistics.fmean(nats))


def drift(before, after):
    ratio = torch.as_tensor(after, dtype=torch.float64) / torch.as_tensor(before, dtype=torch.float64)
    return ratio - 1
