"""The GPT on held-out text, with a student's layers or weights in it; whatever is around these is the suite's own."""

import math
from typing import Any

import torch
from torch import Tensor, nn

from llm.corpus import held_out_tokens
from llm.linears import linear_inputs, with_weights
from llm.model import GPT
from tests import oracle
from tests.messages import check_tensor

CONTEXT = 256
BATCH = 4  # windows a call


class Inserted(nn.Module):
    """Where a Linear was, a layer that a student made of it; its result has to have the Linear's shape."""

    def __init__(self, layer: Any, linear: nn.Linear, called: str):
        super().__init__()
        self.layer, self.features, self.called = layer, linear.out_features, called

    def forward(self, x: Tensor) -> Tensor:
        return check_tensor(self.layer(x), f"{self.called}(x)", (*x.shape[:-1], self.features), torch.float32)


def some_text(windows: int, rng: torch.Generator) -> Tensor:
    """(windows, CONTEXT + 1) held-out tokens from a drawn place on; the last of a window is the first of the next."""
    text = held_out_tokens()
    start = int(torch.randint(len(text) - windows * CONTEXT - 1, (), generator=rng))
    return text[start : start + windows * CONTEXT + 1].unfold(0, CONTEXT + 1, CONTEXT)


def drift(after: Tensor, before: Tensor) -> float:
    """Of the perplexity, from the nats of the same windows."""
    return math.exp((after - before).mean()) - 1


def to_nearest(model: GPT, bits: int) -> GPT:
    """A copy of the model with its weights rounded to nearest, one scale a row: what a method has to beat."""
    return with_weights(model, lambda _, w: oracle.round_trip(w, bits, 0))


def hessians(model: GPT, ids: Tensor) -> dict[str, Tensor]:
    """{name: 2 X^T X / n}, (K, K) float32, of the inputs of every Linear."""
    total: dict[str, Tensor] = {}
    for batch in ids.split(BATCH):
        for name, x in linear_inputs(model, batch).items():
            total[name] = total.get(name, 0) + 2 / ids.numel() * (x.t() @ x).double()
    return {name: h.float() for name, h in total.items()}
