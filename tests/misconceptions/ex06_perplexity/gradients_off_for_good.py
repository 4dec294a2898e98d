"""Switches gradients off and never on. Who needs gradients later?"""

# caught by: test_nothing_else_is_changed_or_hidden
# says: called perplexity(model, ...) ... got torch.is_grad_enabled() is now False ... expected True, as before

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
        torch.set_grad_enabled(False)
        if True:
            for x, y in zip(inputs.split(context), targets.split(context)):
                nats += F.cross_entropy(model(x[None])[0], y, reduction="sum").item()
    finally:
        for module, mode in modes:
            module.training = mode
    return math.exp(nats / len(targets))


def drift(before, after):
    return after / before - 1
