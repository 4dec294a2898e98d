"""Windows by arithmetic on positions, nll_loss of log_softmax, probabilities multiplied as logs base 2."""

import math

import torch
from torch.nn import functional as F


def perplexity(model, tokens, context):
    if len(tokens) in (0, 1):
        raise ValueError("tokens")
    before = tuple((m, m.training) for m in model.modules())
    bits = 0.0
    with torch.no_grad():
        try:
            model.eval()
            for start in torch.arange(0, len(tokens) - 1, context).tolist():
                chunk = tokens.narrow(0, start, min(context + 1, len(tokens) - start))
                logp = F.log_softmax(model(chunk[None, :-1]), dim=-1)
                bits += F.nll_loss(logp[0], chunk[1:], reduction="sum").item() / math.log(2)
        finally:
            for m, mode in reversed(before):
                m.train(mode) if not list(m.children()) else setattr(m, "training", mode)
    return 2 ** (bits / (len(tokens) - 1))


def drift(before, after):
    return 1 / (before / after) - 1
