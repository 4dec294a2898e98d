"""Makes a batch of the tokens in place. Whose tensor is it?"""

# caught by: test_nothing_else_is_changed_or_hidden
# says: called perplexity(model, tokens, 8), 2 tokens ... expected the argument as it was

import math

import torch
from torch.nn import functional as F


def perplexity(model, tokens, context):
    if len(tokens) < 2:
        raise ValueError("at least 2 tokens are needed")
    modes = [(module, module.training) for module in model.modules()]
    tokens.unsqueeze_(0)
    inputs, targets = tokens[0, :-1], tokens[0, 1:]
    nats = 0.0
    try:
        model.eval()
        with torch.no_grad():
            for x, y in zip(inputs.split(context), targets.split(context)):
                nats += F.cross_entropy(model(x[None])[0], y, reduction="sum").item()
    finally:
        for module, mode in modes:
            module.training = mode
    return math.exp(nats / len(targets))


def drift(before, after):
    return after / before - 1
