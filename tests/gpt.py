"""The GPT on held-out text, with a student's layers or weights in it; whatever is around these is the suite's own."""

import copy
import math
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from llm.activations import linear_inputs
from llm.corpus import held_out_tokens
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


@torch.no_grad()
def nats(model: Callable[[Tensor], Tensor], text: Tensor) -> Tensor:
    """(windows,) float64: mean nats a target, of each window of some_text."""
    found = []
    for window in text.split(BATCH):
        logits, targets = model(window[:, :-1]).double(), window[:, 1:]
        losses = F.cross_entropy(logits.flatten(0, 1), targets.flatten(), reduction="none")
        found.append(losses.view(targets.shape).mean(1))
    return torch.cat(found)


def drift(after: Tensor, before: Tensor) -> float:
    """Of the perplexity, from the nats of the same windows."""
    return math.exp((after - before).mean()) - 1


def linears(model: nn.Module) -> dict[str, nn.Linear]:
    return {name: module for name, module in model.named_modules() if isinstance(module, nn.Linear)}


def with_layers(model: GPT, make: Callable[[str, nn.Linear], nn.Module]) -> GPT:
    """A copy of the model, each Linear replaced by make(its name, it)."""
    model = copy.deepcopy(model).eval()
    for name, linear in linears(model).items():
        parent, _, last = name.rpartition(".")
        setattr(model.get_submodule(parent), last, make(name, linear))
    return model


def with_weights(model: GPT, make: Callable[[str, Tensor], Tensor]) -> GPT:
    """A copy of the model, the weight w of each Linear replaced by make(its name, w)."""
    model = copy.deepcopy(model).eval()
    for name, linear in linears(model).items():
        linear.weight.data = make(name, linear.weight.detach()).float()
    return model


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
