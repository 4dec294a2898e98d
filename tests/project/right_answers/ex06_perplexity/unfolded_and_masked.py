"""Windows by unfold and a mask for the tail, batches of three, nll_loss without reduction; a NumPy number."""

import numpy as np
import torch
from torch.nn import functional as F


class Restored:
    def __init__(self, model):
        self.model = model

    def __enter__(self):
        self.modes = [m.training for m in self.model.modules()]
        return self.model.eval()

    def __exit__(self, *_):
        for m, mode in zip(self.model.modules(), self.modes, strict=True):
            m.training = mode


def perplexity(model, tokens, context):
    n = len(tokens) - 1
    if n < 1:
        raise ValueError("at least two tokens, please")
    width = min(context, n)
    windows = -(-n // width)
    text = torch.cat([tokens, tokens.new_zeros(windows * width - n)])
    parts = text.unfold(0, width + 1, width)  # (windows, width + 1)
    real = (torch.arange(windows * width) < n).view(windows, width)
    total = 0.0
    with torch.no_grad(), Restored(model):
        for ids, mask in zip(parts.split(3), real.split(3), strict=True):
            logp = F.log_softmax(model(ids[:, :-1].contiguous()), dim=-1)
            nats = F.nll_loss(logp.transpose(1, 2), ids[:, 1:], reduction="none")
            total += float(nats[mask].double().sum())
    return np.exp(np.float64(total) / n)


def drift(before, after):
    return np.subtract(np.divide(float(after), float(before)), 1.0)
