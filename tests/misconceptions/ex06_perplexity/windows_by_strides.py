"""Cuts windows with as_strided. What if the tokens are not side by side in memory?"""

# caught by: test_every_model_and_every_text_has_its_perplexity
# says: called perplexity(model, tokens, 8), tokens are every second number of a larger tensor ... got ... expected

import math

import torch
from torch.nn import functional as F


def perplexity(model, tokens, context):
    if len(tokens) < 2:
        raise ValueError("at least 2 tokens are needed")
    modes = [(module, module.training) for module in model.modules()]
    n = len(tokens) - 1
    inputs, targets = tokens.as_strided((n,), (1,)), tokens[1:]
    nats = 0.0
    try:
        model.eval()
        with torch.no_grad():
            for x, y in zip(inputs.split(context), targets.split(context), strict=True):
                nats += F.cross_entropy(model(x[None])[0], y, reduction="sum").item()
    finally:
        for module, mode in modes:
            module.training = mode
    return math.exp(nats / len(targets))


def drift(before, after):
    return after / before - 1
