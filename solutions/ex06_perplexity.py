"""ex06  Perplexity: what a language model lost

Small weight errors are not the goal. What counts is whether the model still predicts text that it never saw. The
measure is perplexity, the exponential of the mean negative log-likelihood of a token:

    nats(i) = -log p(token i | the tokens before it)            one cross-entropy
    perplexity = exp( sum of all nats / number of targets )     1: certain; V: a guess among all V tokens

Compute nats from logits. A probability may be too small for float32, its logarithm is not.

A text longer than the context is cut into consecutive windows that do not overlap. The inputs of a window are `context`
tokens. Its targets are the same tokens shifted by one, so the last input of a window predicts the first token of the
next window. The last window may be shorter. Of N tokens, all but the first are targets, each of them exactly once.

Divide only once, at the end: take the mean of all nats, not the mean of the windows' means or of their perplexities.

    drift = after / before - 1                                  0.01 means 1 percent worse

When it passes, run `.venv/bin/python -m exercises.ex06_perplexity`: what rounding costs, and noise of the same size.
"""

if __name__ == "__main__" and not __package__:
    raise SystemExit("Run it from the project's folder as a module: .venv/bin/python -m exercises.ex06_perplexity")

import copy
import math

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from .ex02_per_channel import channel_scales, dequantize_per_channel, quantize_per_channel
from .ex05_linear_swap import swap_linears


def perplexity(model: nn.Module, tokens: Tensor, context: int) -> float:
    """exp of the mean nats per target, over consecutive windows of `context` tokens.

    model:   model(ids) takes (B, T) int64 with T <= context and returns logits (B, T, V) float32. It is evaluated with
             every part in eval mode and without gradients. Afterwards every part is in the mode it was in, also when
             the model raises an error; its tensors and torch's settings stay as they were
    tokens:  (N,) int64
    context: the most tokens that the model reads at once, 1 or more
    returns: a number
    raises:  ValueError for fewer than 2 tokens
    """
    if len(tokens) < 2:
        raise ValueError(f"{len(tokens)} tokens: the first has nothing before it, so at least 2 are needed")
    modes = [(module, module.training) for module in model.modules()]
    inputs, targets = tokens[:-1], tokens[1:]
    nats = 0.0
    try:
        model.eval()
        with torch.no_grad():
            for x, y in zip(inputs.split(context), targets.split(context), strict=True):
                logits = model(x[None])[0]  # (T, V)
                nats += F.cross_entropy(logits, y, reduction="sum").item()
    finally:
        # not model.train(): some parts may have been in eval mode on purpose
        for module, mode in modes:
            module.training = mode
    return math.exp(nats / len(targets))


def drift(before: float, after: float) -> float:
    """How much worse, as a fraction: 0.01 for a perplexity that rose by 1 percent.

    before:  a perplexity, a number > 0
    after:   the perplexity to compare with it
    returns: a number, negative where the perplexity fell
    """
    return after / before - 1


def demonstration() -> None:
    """Perplexity of the GPT in float32, in int8, and with weights that are rounded or get noise of the same size."""
    from llm.checkpoint import load_gpt
    from llm.corpus import held_out_tokens

    print("Eight perplexities of the GPT, on 3,072 targets: 10 to 20 seconds.\n")
    gpt, tokens = load_gpt(), held_out_tokens()[:3073]
    before = perplexity(gpt, tokens, 256)
    print(f"float32                        perplexity {before:7.2f}")
    after = perplexity(swap_linears(gpt), tokens, 256)
    print(f"int8 weights and activations   perplexity {after:7.2f}   drift {drift(before, after):+7.2%}")
    torch.manual_seed(0)
    drifts = {}
    for bits in (8, 4, 3):
        for what in ("rounded", "noise"):
            model = copy.deepcopy(gpt)
            for linear in model.modules():
                if isinstance(linear, nn.Linear):
                    w, scales = linear.weight.data, channel_scales(linear.weight.data, bits)
                    rounded = dequantize_per_channel(*quantize_per_channel(w, bits))
                    noisy = w + (torch.rand_like(w) - 0.5) * scales  # at most half a step, like the round-off
                    linear.weight.data = rounded if what == "rounded" else noisy
            after = perplexity(model, tokens, 256)
            drifts[bits, what] = drift(before, after)
            print(f"{bits}-bit weights, {what:<15} perplexity {after:7.2f}   drift {drifts[bits, what]:+7.2%}")
    print(f"\nRounding to 4 bits costs {drifts[4, 'rounded']:+.1%}, noise of the same size {drifts[4, 'noise']:+.1%}.")
    print("The model tolerates small errors of either kind. It is their size that counts.")


if __name__ == "__main__":
    demonstration()
