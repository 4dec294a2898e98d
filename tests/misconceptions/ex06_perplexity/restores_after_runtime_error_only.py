"""Restores the modes when a RuntimeError comes. Which errors can a model raise?"""

# caught by: test_every_part_gets_its_mode_back
# says: called perplexity(model, ...), call 3 of the model raises an error ... expected every part in the mode it was in

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
    except RuntimeError:
        restore(modes)
        raise
    restore(modes)
    return math.exp(nats / len(targets))


def restore(modes):
    for module, mode in modes:
        module.training = mode


def drift(before, after):
    return after / before - 1
