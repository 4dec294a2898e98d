"""How much a model loses of a text, window by window."""

from collections.abc import Callable

import torch
from torch import Tensor
from torch.nn import functional as F


@torch.no_grad()
def window_nats(model: Callable[[Tensor], Tensor], windows: Tensor, batch: int = 4) -> Tensor:
    """(n,) float64: mean nats a target, of each of n windows.

    model:   ids (B, T) to logits (B, T, V)
    windows: (n, T + 1) tokens, of which all but the first are targets
    batch:   windows a call
    """
    found = []
    for part in windows.split(batch):
        logits, targets = model(part[:, :-1]).double(), part[:, 1:]
        losses = F.cross_entropy(logits.flatten(0, 1), targets.flatten(), reduction="none")
        found.append(losses.view(targets.shape).mean(1))
    return torch.cat(found)
