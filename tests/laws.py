"""Several laws in one test function, each a case with a line of its own: for exercises whose ten points are used up."""

from collections.abc import Callable

import pytest


def laws(*functions: Callable[..., None]) -> pytest.MarkDecorator:
    """Parametrizes `law` with these functions; the first line of each docstring, a sentence, is the case's name."""
    titles = [(function.__doc__ or "").strip().partition("\n")[0] for function in functions]
    unnamed = [f.__name__ for f, title in zip(functions, titles, strict=True) if not title.endswith(".")]
    if unnamed:
        raise ValueError(f"{unnamed[0]} has no sentence, with a full stop, as the first line of its docstring")
    return pytest.mark.parametrize("law", functions, ids=titles)
