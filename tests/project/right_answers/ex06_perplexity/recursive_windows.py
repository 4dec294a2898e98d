"""Recursion over windows, from the last to the first; einsum with one-hot targets; modes kept by name."""

import torch
from torch.nn import functional as F


def _nats(model, tokens, context, end):
    if end <= 0:
        return torch.zeros((), dtype=torch.float64)
    start = (end - 1) // context * context
    x, y = tokens[None, start:end], tokens[None, start + 1 : end + 1]
    logp = model(x).double().log_softmax(-1)
    here = -torch.einsum("btv,btv->", logp, F.one_hot(y, logp.shape[-1]).double())
    return here + _nats(model, tokens, context, start)


def perplexity(model, tokens, context):
    if len(tokens) <= 1:
        raise ValueError("one token predicts nothing")
    before = {name: part.training for name, part in model.named_modules()}
    try:
        with torch.no_grad():
            total = _nats(model.eval(), tokens, context, len(tokens) - 1)
    finally:
        for name, mode in before.items():
            model.get_submodule(name).training = mode
    return (total / (len(tokens) - 1)).exp()


def drift(before, after):
    return -(before - after) / before
