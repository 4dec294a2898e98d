"""Nats as logsumexp of the differences to the logit of the target; modes on a stack that is emptied at the end."""

import torch


def perplexity(model, tokens, context):
    if len(tokens) < 2:
        raise ValueError("tokens")
    stack = [(part, part.training) for part in model.modules()]
    nats = []
    try:
        for part in model.modules():
            part.training = False
        for x, y in zip(tokens[:-1].chunk(1)[0].split(context), tokens[1:].split(context), strict=True):
            with torch.no_grad():
                logits = model(x.reshape(1, -1)).reshape(len(x), -1)
            others = logits - logits[torch.arange(len(y)), y][:, None]
            nats.append(torch.logsumexp(others, dim=1))
    finally:
        while stack:
            part, mode = stack.pop()
            part.training = mode
    return torch.cat(nats).double().mean().exp().float().squeeze()


def drift(before, after):
    return after / before - 1.0
