"""Freezes all parameters and makes all trainable afterwards. Which were trainable before?"""

# caught by: test_nothing_else_is_changed_or_hidden
# says: called perplexity(model, tokens, 8), a model in train mode ... got `memory`.requires_grad was False and is True

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
        model.eval().requires_grad_(False)
        with torch.no_grad():
            for x, y in zip(inputs.split(context), targets.split(context), strict=True):
                nats += F.cross_entropy(model(x[None])[0], y, reduction="sum").item()
    finally:
        for module, mode in modes:
            module.training = mode
    model.requires_grad_(True)
    return math.exp(nats / len(targets))


def drift(before, after):
    return after / before - 1
