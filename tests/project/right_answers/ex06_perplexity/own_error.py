"""Whatever the model raises comes out as an error of its own, with the model's as the cause."""

import torch
from torch.nn import functional as F


class EvaluationError(Exception):
    pass


def perplexity(model, tokens, context):
    if len(tokens) < 2:
        raise ValueError("nothing to predict")
    modes = [(part, part.training) for part in model.modules()]
    losses = []
    try:
        model.eval()
        with torch.no_grad():
            for x, y in zip(tokens[:-1].split(context), tokens[1:].split(context), strict=True):
                losses.append(F.cross_entropy(model(x[None])[0].double(), y, reduction="none"))
    except Exception as error:
        raise EvaluationError(f"the model broke off after {len(losses)} windows") from error
    finally:
        for part, mode in modes:
            part.training = mode
    return torch.cat(losses).mean().exp()


def drift(before, after):
    return after / before - 1
