"""Whether two results, or two messages, are the same as far as two ways to compute one thing can be."""

import math
import re
from typing import Any

import torch
from torch import Tensor

CLOSE = 1e-5  # relative: two ways to compute one float
CLOSE_SUM = 3e-4  # the same for a single number, which often is a sum of many
NEARLY_ALL = 0.999  # of the codes: other formulas differ where w / s is close to a whole number
NUMBER = re.compile(r"[+-]?\d[\d,]*\.?\d*(?:e[+-]?\d+)?")


def same_words(one: str, other: str) -> bool:
    """Whether two messages say the same, with numbers that are nearly equal."""
    if NUMBER.split(one) != NUMBER.split(other):
        return False
    numbers = ([float(n.replace(",", "")) for n in NUMBER.findall(text)] for text in (one, other))
    return all(math.isclose(a, b, rel_tol=1e-3) for a, b in zip(*numbers, strict=True))


def same(one: Any, other: Any) -> bool:
    """Whether two results are the same, as far as two ways to compute one thing can be."""
    if isinstance(one, Tensor) and isinstance(other, Tensor):
        return (one.dtype, one.shape) == (other.dtype, other.shape) and _same_numbers(one, other)
    if isinstance(one, dict) and isinstance(other, dict):  # a state dict: its names are the learner's own
        return same(list(one.values()), list(other.values()))
    if isinstance(one, list | tuple) and isinstance(other, list | tuple):
        return len(one) == len(other) and all(map(same, one, other))
    if type(one) is type(other) is float:
        return math.isclose(one, other, rel_tol=CLOSE_SUM) or (math.isnan(one) and math.isnan(other))
    return type(one) is type(other) and one == other


def _same_numbers(one: Tensor, other: Tensor) -> bool:
    if one.numel() == 0:
        return True
    a, b = one.double(), other.double()
    if not one.is_floating_point():
        return bool((a == b).double().mean() >= NEARLY_ALL and (a - b).abs().max() <= 1)
    close = CLOSE_SUM if one.numel() == 1 else CLOSE
    size = a.abs().max().nan_to_num(0.0, 0.0, 0.0)
    return bool(torch.isclose(a, b, rtol=close, atol=CLOSE / 10 * size, equal_nan=True).all())
