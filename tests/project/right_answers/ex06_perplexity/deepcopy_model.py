"""Evaluates a deep copy of the model, so that the model itself never changes at all."""

import copy
import math

import torch
from torch.nn import functional as F


def perplexity(model, tokens, context):
    if len(tokens) < 2:
        raise ValueError("at least two tokens")
    model = copy.deepcopy(model).eval()
    total = 0.0
    with torch.no_grad():
        for start in range(0, len(tokens) - 1, context):
            y = tokens[start + 1 : start + 1 + context]
            total += F.cross_entropy(model(tokens[None, start : start + len(y)])[0], y, reduction="sum").item()
    return math.exp(total / (len(tokens) - 1))


def drift(before, after):
    return after / before - 1
