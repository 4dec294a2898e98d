"""NumPy in float64: log-sum-exp by hand; the model is called as model.forward-free plain call, one window at a time."""

import numpy as np
import torch


def perplexity(model, tokens, context):
    ids = tokens.numpy()
    if ids.size < 2:
        raise ValueError("too few tokens")
    state = [(m, m.training) for m in model.modules()]
    nats = []
    try:
        for m, _ in state:
            m.training = False
        for first in range(0, ids.size - 1, context):
            last = min(first + context, ids.size - 1)
            with torch.no_grad():
                z = model(tokens[first:last].unsqueeze(0))[0].numpy().astype(np.float64)
            z -= z.max(axis=1, keepdims=True)
            right = z[np.arange(last - first), ids[first + 1 : last + 1]]
            nats.append(np.log(np.exp(z).sum(axis=1)) - right)
    finally:
        for m, mode in state:
            m.training = mode
    return np.exp(np.concatenate(nats).mean())


def drift(before, after):
    return np.float64(after) / np.float64(before) - 1
