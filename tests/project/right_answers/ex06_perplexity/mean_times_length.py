"""F.cross_entropy's mean times the window's length, under torch.inference_mode; a 0-dim tensor comes back."""

import torch
from torch.nn import functional as F


@torch.inference_mode()
def perplexity(model, tokens, context):
    if tokens.shape[0] <= 1:
        raise ValueError("nothing to predict")
    flags = [m.training for m in model.modules()]
    nats = torch.zeros(())
    try:
        model.train(False)
        for i in range(0, len(tokens) - 1, context):
            y = tokens[i + 1 : i + 1 + context]
            logits = model(tokens[i : i + len(y)].unsqueeze(0))
            nats += F.cross_entropy(logits.squeeze(0), y) * len(y)
    finally:
        for m, flag in zip(model.modules(), flags, strict=True):
            m.training = flag
    return torch.exp(nats / (len(tokens) - 1))


def drift(before, after):
    return float(after / before) - 1.0
