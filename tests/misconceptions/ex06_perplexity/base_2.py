"""Takes 2 to the power of the nats. Which base belongs to which logarithm?"""

# caught by: test_every_target_counts_once
# says: called perplexity(model, tokens, 8), 2 tokens ... got ... expected ...: exp of the mean over 1 target

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
            for x, y in zip(inputs.split(context), targets.split(context)):
                nats += F.cross_entropy(model(x[None])[0], y, reduction="sum").item()
    finally:
        for module, mode in modes:
            module.training = mode
    return 2 ** (nats / len(targets))


def drift(before, after):
    return after / before - 1
