"""Converts the model itself to float64. Whose model is it?"""

# caught by: test_nothing_else_is_changed_or_hidden
# says: called perplexity(model, tokens, 8), a model in train mode ... got `table` of the model is float64 now, it

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
        model.eval().double()
        with torch.no_grad():
            for x, y in zip(inputs.split(context), targets.split(context), strict=True):
                nats += F.cross_entropy(model(x[None])[0], y, reduction="sum").item()
    finally:
        for module, mode in modes:
            module.training = mode
    return math.exp(nats / len(targets))


def drift(before, after):
    return after / before - 1
