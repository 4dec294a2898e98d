"""Calls eval() only if the model itself is in train mode. Which modes can its parts be in?"""

# caught by: test_the_model_is_evaluated_in_eval_mode
# says: called perplexity(model, tokens, 8), a model in eval mode but for `noise` ... got calls with `noise` in train

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
        model.eval() if model.training else None
        with torch.no_grad():
            for x, y in zip(inputs.split(context), targets.split(context), strict=True):
                nats += F.cross_entropy(model(x[None])[0], y, reduction="sum").item()
    finally:
        for module, mode in modes:
            module.training = mode
    return math.exp(nats / len(targets))


def drift(before, after):
    return after / before - 1
