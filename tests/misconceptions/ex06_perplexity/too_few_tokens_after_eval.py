"""Counts the tokens once the model is in eval mode. In which mode is it left when there are too few?"""

# caught by: test_every_part_gets_its_mode_back
# says: called perplexity(model, tokens, 8), too few tokens ... expected every part in the mode it was in

import math

import torch
from torch.nn import functional as F


def perplexity(model, tokens, context):
    modes = [(module, module.training) for module in model.modules()]
    inputs, targets = tokens[:-1], tokens[1:]
    nats = 0.0
    model.eval()
    if len(tokens) < 2:
        raise ValueError("at least 2 tokens are needed")
    try:
        with torch.no_grad():
            for x, y in zip(inputs.split(context), targets.split(context)):
                nats += F.cross_entropy(model(x[None])[0], y, reduction="sum").item()
    finally:
        for module, mode in modes:
            module.training = mode
    return math.exp(nats / len(targets))


def drift(before, after):
    return after / before - 1
