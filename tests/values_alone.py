"""Answers depend on values alone: not on earlier calls, on which object an argument is, on its order in memory, on how
many axes lead or whether a batch is one. And an output is its caller's own: no later call writes into it.
"""

from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import Tensor

from tests import oracle
from tests.messages import check_tensor, check_unchanged

Expected = Callable[[Tensor], tuple[Tensor, Tensor]]  # of x: the values wanted, and how far off they may be

OWN = "Is the result a new tensor in every call, or one that your code keeps and fills again?"
OBJECTS = "What does your answer keep from one call to the next, and how does it recognize that the values are others?"
ORDER = "Does your code rely on the order of the numbers in memory, or only on shapes and indices?"
TOKENS = (
    "A token is the last axis, whatever comes before it. Does anything depend on the other tokens, or on their number?"
)


def layouts(x: Tensor) -> dict[str, Tensor]:
    """x in other memory orders: the same values in the same places, with other strides.  x: one dimension or more"""
    wide = torch.zeros(*x.shape[:-1], 2 * x.shape[-1] + 1, dtype=x.dtype)
    longer = torch.zeros(x.shape[0] + 2, *x.shape[1:], dtype=x.dtype)
    wide[..., 1::2], longer[1:-1] = x, x
    found = {"every second number of a larger tensor": wide[..., 1::2], "a slice of a longer tensor": longer[1:-1]}
    if x.dim() > 1:
        turned = x.transpose(0, -1).contiguous().transpose(0, -1)
        found["transposed in memory"] = turned
    return found


def leading_shapes(x: Tensor) -> dict[str, tuple[Tensor, tuple]]:
    """x, (B, T, K), in parts: in words, a part of it, and the index in x of what the part holds."""
    B, T, K = x.shape
    return {
        f"x ({K},), one token": (x[0, 0], (0, 0)),
        f"x (1, {K}), a batch of one token": (x[0, :1], (0, slice(1))),
        f"x ({T}, {K})": (x[0], (0,)),
        f"x (1, {T}, {K}), a batch of one": (x[:1], (slice(1),)),
        f"x ({B}, {T}, {K})": (x, ()),
        f"x (0, {K}), no token": (x[0, :0], (0, slice(0))),
        f"x (0, {T}, {K}), an empty batch": (x[:0], (slice(0),)),
        f"x ({B}, 0, {K}), no token in a sequence": (x[:, :0], (slice(None), slice(0))),
    }


def check_layer(student, layer: Any, x: Tensor, expected: Expected, called: str, think: str = "") -> None:
    """A layer's answers to x, (B, T, K) with B and T of 2 or more, and to parts of it, depend on values alone.

    expected: of any tensor (..., K), in float64, token by token
    called:   how the layer was made: "int8_linear(linear)"
    """

    def check(got: Any, part: Tensor, where: str, question: str) -> None:
        want, allowed = expected(part)
        check_tensor(got, where, tuple(want.shape), torch.float32, TOKENS)
        oracle.check_close(got, want, allowed, where, "which depends on the values of x alone", think or question)

    cases = [(what, part, TOKENS) for what, (part, _) in leading_shapes(x).items()]
    cases += [(what, part, ORDER) for what, part in layouts(x).items()]
    for what, part, question in cases:
        check(layer(part), part, f"{called}(x), {what}", question)
        check_unchanged(part, student.view(part), f"{called}(x), {what}")
    check_function(student, layer, [(x,), (x.flip(0, 1) * 0.5,)], lambda got, a, c, q: check(got, *a, c, q), called)


def check_function(
    student,
    call: Any,
    calls: Sequence[tuple],
    check: Callable[[Any, tuple, str, str], None],
    called: str,
) -> None:
    """Two calls in turn, with arguments of the same shapes and other values, each answer as if it were the only one.

    call:  a function's name, or a handle
    check: told of a result, its arguments, what was called, and what to think about
    """
    suffix = "" if isinstance(call, str) else "(x)"
    for same in (False, True):
        results = student.in_turn(call, *calls, same=same)
        for k, (result, arguments) in enumerate(zip(results, calls, strict=True)):
            what = f"call {k + 1} of {len(calls)}, " + (
                "with the same tensor, in which other values were written"
                if same
                else "looked at when all calls were made"
            )
            check(result, arguments, f"{called}{suffix}, {what}", OBJECTS if same else OWN)
