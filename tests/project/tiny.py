"""A GPT that runs in a blink, for tests of laws that hold at any size."""

import torch
from torch import Tensor

from llm.model import GPT, GPTConfig

TINY = {"vocab_size": 40, "block_size": 8, "n_layer": 2, "n_head": 2, "n_embd": 16}


def tiny_gpt(seed: int = 0, **config) -> GPT:
    """Every parameter random and large, so that no part of the model can go wrong unnoticed; in eval mode."""
    model = GPT(GPTConfig(**{**TINY, **config})).eval()
    rng = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.normal_(std=0.3, generator=rng)
    return model


def some_tokens(*shape: int, vocab_size: int = TINY["vocab_size"], seed: int = 0) -> Tensor:
    return torch.randint(vocab_size, shape, generator=torch.Generator().manual_seed(seed))
