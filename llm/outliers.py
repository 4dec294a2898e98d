"""Outlier features on demand: large models have them (Dettmers et al. 2022, LLM.int8), a small one has none.

Called by the suites of the exercises on outliers and on salient weights.
"""

import copy
import math

import torch
from torch import nn

from llm.model import GPT


@torch.no_grad()
def with_outliers(model: GPT, channels: int = 3, alpha: float | tuple[float, float] = 100.0, seed: int = 0) -> GPT:
    """A copy of the model that computes the same, with a few outlier channels between LayerNorm and Linear.

    A LayerNorm's weight and bias are multiplied by alpha in some random channels, and the matching columns of the
    Linear that follows are divided by it: ln_1 and qkv, ln_2 and up of every block, ln_f and the head. What changes
    is the range of each: activations get large channels (LLM.int8's outliers), weights small columns that matter as
    much as the large ones (the salient columns of AWQ, Lin et al. 2023).

    channels: how many of n_embd, other ones behind each LayerNorm
    alpha:    the factor, or (low, high): one factor a channel, drawn log-uniformly
    returns:  logits equal up to float32 rounding; where alpha is a power of two, equal bit for bit
    raises:   ValueError for channels outside 0..n_embd, or an alpha that is not positive and finite
    """
    low, high = alpha if isinstance(alpha, tuple) else (alpha, alpha)
    if not 0 < low <= high < math.inf:
        raise ValueError(f"alpha is {alpha}: use a positive number, or two of them, the smaller one first")
    if not 0 <= channels <= model.config.n_embd:
        raise ValueError(f"channels is {channels}: use 0 to {model.config.n_embd}, the width of this model")
    model = copy.deepcopy(model)
    rng = torch.Generator().manual_seed(seed)
    for norm, linear in _norms_and_linears(model):
        chosen = torch.randperm(model.config.n_embd, generator=rng)[:channels]
        factors = low * (high / low) ** torch.rand(channels, generator=rng)  # exactly alpha where low is high
        factors = factors.to(norm.weight.device)
        norm.weight[chosen] *= factors
        if norm.bias is not None:
            norm.bias[chosen] *= factors
        linear.weight[:, chosen] /= factors
    return model


def _norms_and_linears(model: GPT) -> list[tuple[nn.LayerNorm, nn.Linear]]:
    """Every LayerNorm with the one Linear that reads its output."""
    pairs = [pair for block in model.blocks for pair in ((block.ln_1, block.attn.qkv), (block.ln_2, block.mlp.up))]
    return [*pairs, (model.ln_f, model.head)]
