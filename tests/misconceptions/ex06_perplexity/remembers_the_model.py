"""Remembers the perplexity of a model and a text. What if their values are others now?"""

# caught by: test_every_model_and_every_text_has_its_perplexity
# says: called perplexity(model, tokens, 8), call 2 of 2, with the same tensor ... got ... expected

import functools
import math

import torch
from torch.nn import functional as F


@functools.cache
def perplexity(model, tokens, context):
    if len(tokens) < 2:
        raise ValueError("at least 2 tokens are needed")
    modes = [(module, module.training) for module in model.modules()]
    inputs, targets = tokens[:-1], tokens[1:]
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
