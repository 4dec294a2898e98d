"""Laws tried on small inputs: hypothesis looks for one that breaks the law, and then for the smallest that does."""

from collections.abc import Callable
from typing import Any

import hypothesis
from hypothesis import HealthCheck, Phase, Verbosity
from hypothesis.strategies import SearchStrategy

QUIET = {  # nothing is kept from one run to the next, nothing is printed, and a slow machine is no mistake
    "database": None,
    "deadline": None,
    "print_blob": False,
    "verbosity": Verbosity.quiet,
    "report_multiple_bugs": False,
    "suppress_health_check": list(HealthCheck),
    "phases": [Phase.generate, Phase.shrink],
}


class ByChance(Exception):
    """The law broke, and then, with the same inputs, it did not."""


def smallest_failure(
    law: Callable[..., None], seed: int, examples: int, strategies: dict[str, SearchStrategy]
) -> dict[str, Any] | None:
    """The smallest inputs found for which law raises an error; None where it holds for all that were tried.

    raises: ByChance
    """
    broken_by: dict[str, Any] = {}

    def trial(**inputs):
        try:
            law(**inputs)
        except Exception:
            broken_by.clear()
            broken_by.update(inputs)
            raise

    search = hypothesis.settings(max_examples=examples, **QUIET)(hypothesis.given(**strategies)(trial))
    try:
        hypothesis.seed(seed)(search)()
    except hypothesis.errors.Flaky:
        raise ByChance from None
    except Exception:
        return broken_by  # what hypothesis tried last is the smallest
    return None
