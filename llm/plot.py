"""Curves as text, for demonstrations in a terminal."""

from collections.abc import Sequence


def text_plot(curves: dict[str, Sequence[float]], height: int = 9) -> str:
    """Curves drawn over each other, a column a value.

    curves: by the character that draws it; the later curve covers the earlier one
    """
    values = [float(v) for curve in curves.values() for v in curve]
    low, high = min(values), max(values)
    width = max(len(curve) for curve in curves.values())
    rows = [[" "] * width for _ in range(height)]
    for mark, curve in curves.items():
        for column, value in enumerate(curve):
            place = (float(value) - low) / ((high - low) or 1.0)
            rows[height - 1 - round(place * (height - 1))][column] = mark
    return "\n".join("".join(row).rstrip() for row in rows)
