"""A context manager switches eval mode on and off; ExitStack callbacks restore each part."""

import contextlib
import math

import torch
from torch import nn


@contextlib.contextmanager
def evaluating(model):
    with contextlib.ExitStack() as stack, torch.no_grad():
        for m in model.modules():
            stack.callback(setattr, m, "training", m.training)
            m.training = False
        yield model


def perplexity(model, tokens, context):
    tokens = tokens.tolist()
    if len(tokens) < 2:
        raise ValueError(len(tokens))
    loss, nats = nn.CrossEntropyLoss(reduction="none"), []
    with evaluating(model):
        start = 0
        while start + 1 < len(tokens):
            window = torch.tensor(tokens[start : start + context + 1])
            out = model(window[:-1].reshape(1, -1))
            nats += loss(out.transpose(1, 2), window[None, 1:]).flatten().tolist()
            start += context
    return math.exp(math.fsum(nats) / len(nats))


def drift(before, after):
    return math.expm1(math.log(float(after)) - math.log(float(before)))
