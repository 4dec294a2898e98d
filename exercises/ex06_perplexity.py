"""ex06  Perplexity: what a language model lost

Small errors in the weights are only a means. What counts is whether the model still predicts text it never saw. The
measure is perplexity, the exponential of the mean negative log-likelihood of a token:

    nats(i) = -log p(token i | the tokens before it)            one cross-entropy
    perplexity = exp( sum of all nats / number of targets )     1: certain; V: a guess among V tokens

A text longer than the context is cut into consecutive windows that do not overlap. The inputs of a window are `context`
tokens, its targets the same tokens shifted by one, so the last input of a window predicts the first token of the next:
of N tokens, N - 1 are targets, each exactly once. The last window may be shorter. Mind the average: the mean of all
nats, not the mean of window means, and never the mean of perplexities.

    drift = after / before - 1                                  0.01 means 1 percent worse

When it passes, run `python -m exercises.ex06_perplexity`: noise as large as the round-off does as little harm.
"""

if __name__ == "__main__" and not __package__:
    raise SystemExit("Run it from the project's folder as a module: python -m exercises.ex06_perplexity")

import copy
import math

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from .ex02_per_channel import channel_scales, dequantize_per_channel, quantize_per_channel
from .ex05_linear_swap import swap_linears


def perplexity(model: nn.Module, tokens: Tensor, context: int) -> float:
    """exp of the mean nats per target, over consecutive windows of `context` tokens.

    model:   model(ids) takes (B, T) int64 with T <= context and returns logits (B, T, V). It is evaluated in eval mode
             and without gradients; afterwards every submodule is in the mode it was in, also when the model raises
    tokens:  (N,) int64
    returns: a number
    raises:  ValueError for fewer than 2 tokens
    """
    # TODO: ex06, step 1 of 2. Which inputs, which targets? What must be put back afterwards, even after an error?
    raise NotImplementedError("ex06: perplexity")


def drift(before: float, after: float) -> float:
    """How much worse, as a fraction: 0.01 for a perplexity that rose by 1 percent.

    before:  a perplexity > 0
    after:   the perplexity to compare with it
    returns: a number, negative where it fell
    """
    # TODO: ex06, step 2 of 2. One line.
    raise NotImplementedError("ex06: drift")


def demonstration() -> None:
    """Perplexity of the GPT in float32, in int8, and with random noise of the size of the round-off instead."""
    from llm.checkpoint import load_gpt
    from llm.corpus import held_out_tokens

    gpt, tokens = load_gpt(), held_out_tokens()[:4097]
    before = perplexity(gpt, tokens, 256)
    print(f"float32                        perplexity {before:8.3f}")
    after = perplexity(swap_linears(gpt), tokens, 256)
    print(f"int8 weights and activations   perplexity {after:8.3f}   drift {drift(before, after):+8.3%}")
    torch.manual_seed(0)
    for bits in (8, 4, 3):
        for what in ("rounded", "noise"):
            model = copy.deepcopy(gpt)
            for linear in model.modules():
                if isinstance(linear, nn.Linear):
                    w, scales = linear.weight.data, channel_scales(linear.weight.data, bits)
                    rounded = dequantize_per_channel(*quantize_per_channel(w, bits))
                    noisy = w + (torch.rand_like(w) - 0.5) * scales
                    linear.weight.data = rounded if what == "rounded" else noisy
            after = perplexity(model, tokens, 256)
            print(f"{bits}-bit weights, {what:<15} perplexity {after:8.3f}   drift {drift(before, after):+8.3%}")


if __name__ == "__main__":
    try:
        demonstration()
    except NotImplementedError as stub:
        print(f"not there yet: {stub}")
