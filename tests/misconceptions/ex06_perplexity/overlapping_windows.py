"""Slides the window by half its length. How often does each target count?"""

# caught by: test_every_target_counts_once
# says: called perplexity(model, tokens, 8), 8 tokens ... got ... expected ...: exp of the mean over 7 targets

import math

import torch
from torch.nn import functional as F


def perplexity(model, tokens, context):
    if len(tokens) < 2:
        raise ValueError("at least 2 tokens are needed")
    modes = [(module, module.training) for module in model.modules()]
    inputs, targets = tokens[:-1], tokens[1:]
    nats = 0.0
    try:
        model.eval()
        with torch.no_grad():
            step = max(1, context // 2)
            count = 0
            for i in range(0, len(inputs), step):
                x, y = inputs[i : i + context], targets[i : i + context]
                count += len(y)
                nats += F.cross_entropy(model(x[None])[0], y, reduction="sum").item()
    finally:
        for module, mode in modes:
            module.training = mode
    return math.exp(nats / count)


def drift(before, after):
    return after / before - 1
