"""A generator of logits and targets; cross entropy with one-hot targets; inference mode; modes set by apply."""

import math

import torch
from torch.nn import functional as F


def _pairs(model, tokens, context):
    position = 0
    while position < len(tokens) - 1:
        size = min(context, len(tokens) - 1 - position)
        ids = torch.empty(1, size, dtype=torch.int64).copy_(tokens[position : position + size])
        yield model(ids).squeeze(0), tokens[position + 1 : position + 1 + size]
        position += size


def perplexity(model, tokens, context):
    if not len(tokens) > 1:
        raise ValueError(len(tokens))
    modes = {}
    model.apply(lambda part: modes.update({part: part.training}))
    total = 0.0
    try:
        model.apply(lambda part: setattr(part, "training", False))
        with torch.inference_mode():
            for logits, targets in _pairs(model, tokens, context):
                wanted = F.one_hot(targets, logits.shape[-1]).to(logits.dtype)
                total += F.cross_entropy(logits, wanted, reduction="sum").item()
    finally:
        model.apply(lambda part: setattr(part, "training", modes[part]))
    return math.exp(total / (len(tokens) - 1))


def drift(before, after):
    return (float(after) - float(before)) / float(before)
