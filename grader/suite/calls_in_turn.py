"""Several calls one after the other where the student's code runs: in pytest's process, or in a worker.

What comes of one call must not change with the next one, and must not depend on which objects the arguments are.
"""

from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import Tensor, nn


def results_in_turn(
    functions: Sequence[Callable], calls: Sequence[tuple], same: bool, take: Callable[[Any], Any]
) -> list[Any]:
    """[take(function(*arguments)), ...]: of all calls, in their order.

    functions: one for each call
    same:      False: results are taken once all calls were made, so that one which a later call overwrites shows.
               True: each is taken at once, and later calls get the tensors and modules of the first, in which the
               later values were written
    """
    results = []
    for k, (function, arguments) in enumerate(zip(functions, calls, strict=True)):
        if same and k:
            arguments = [_with_values_of(new, old) for new, old in zip(arguments, calls[0], strict=True)]
        result = function(*arguments)
        results.append(take(result) if same else result)
    return results if same else [take(result) for result in results]


@torch.no_grad()
def _with_values_of(new: Any, old: Any) -> Any:
    """old, once it holds what new holds; new itself where it is no tensor and no module."""
    if isinstance(new, Tensor):
        old.copy_(new)
        return old
    if isinstance(new, nn.Module):
        old.load_state_dict(new.state_dict())
        return old
    return new
