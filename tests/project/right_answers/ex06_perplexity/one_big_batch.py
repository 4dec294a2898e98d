"""All full windows in a single batch for short texts, 16 for long ones; tail in a separate call before them."""

import torch


def perplexity(model, tokens, context):
    n = len(tokens) - 1
    if n <= 0:
        raise ValueError("short")
    modes = {id(m): m.training for m in model.modules()}
    losses = []

    def run(x, y):
        logits = model(x)
        losses.append((logits.logsumexp(-1) - logits.gather(-1, y.unsqueeze(-1)).squeeze(-1)).sum().double())

    grad = torch.is_grad_enabled()
    torch.set_grad_enabled(False)
    try:
        model.eval()
        tail = n % context
        if tail:
            run(tokens[n - tail : n].view(1, -1), tokens[n - tail + 1 :].view(1, -1))
        if n - tail:
            xs, ys = tokens[: n - tail].view(-1, context), tokens[1 : n - tail + 1].view(-1, context)
            for x, y in zip(xs.split(16), ys.split(16), strict=True):
                run(x, y)
    finally:
        torch.set_grad_enabled(grad)
        for m in model.modules():
            m.training = modes[id(m)]
    return torch.stack(losses).sum().div(n).exp()


def drift(before, after):
    return after / before - 1
