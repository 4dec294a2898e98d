"""How a graded test says what went wrong: what was called, what came back, what was expected, what to think about."""

from collections.abc import Callable, Sequence
from typing import Any, NoReturn

import torch
from torch import Tensor

from grader.results.failure import Failure
from grader.suite.verdict import WrongAnswer

ALSO = 5  # further bad inputs that are listed by name
NARROW = (torch.int8, torch.int16, torch.float16, torch.bfloat16)  # where values may have been lost
DTYPE = "Which step decides the dtype? A cast at the end cannot bring back what was lost before it."


def fail(called: str, got: Any, expected: Any, think: str = "", also: Sequence[str] = ()) -> NoReturn:
    """Ends the test: the one way in which a suite says that an answer is wrong.

    called, got, expected: which call, what came back, what should have
    think: a question that never gives the answer away; also: further inputs that fail in the same way
    raises: WrongAnswer
    """
    __tracebackhide__ = True
    raise WrongAnswer(
        Failure(called=called, got=_text(got), expected=_text(expected), think=think, also=list(also))
    ) from None


def check_default(same: bool, called: str, default: str) -> None:
    """A call that names no width (or other option) does what the contract's default says."""
    if not same:
        got = f"a result that differs from the one with {default}"
        fail(called, got, f"the same result: {default} is the default", "Which default does the contract name?")


def describe(tensor: Tensor) -> str:
    """A tensor in a few words: `float32 (64, 64) in [-3.1, 2.9]`."""
    kind = f"{str(tensor.dtype).removeprefix('torch.')} {_shape(tensor)}"
    if tensor.numel() == 0 or tensor.is_quantized:
        return kind
    low, high = tensor.double().min().item(), tensor.double().max().item()
    return f"{kind}, all {low:.4g}" if low == high else f"{kind} in [{low:.4g}, {high:.4g}]"


def check_tensor(value: Any, called: str, shape: tuple[int, ...], dtype: torch.dtype, think: str = "") -> Tensor:
    """value, once it is a tensor of this very shape and dtype."""
    name = str(dtype).removeprefix("torch.")
    expected = f"{'an' if name[0] == 'i' else 'a'} {name} tensor of shape {tuple(shape)}"
    if not isinstance(value, Tensor):
        fail(called, f"a {kind_of(value)}", expected, think)
    if tuple(value.shape) != tuple(shape):
        fail(called, describe(value), expected, think)
    lost = value.dtype in NARROW and dtype != torch.int8
    if value.dtype != dtype:
        fail(called, describe(value), expected, DTYPE if lost else "")
    return value


def check_pair(value: Any, called: str, names: str) -> tuple[Any, Any]:
    """value, once it is two of something."""
    pair = isinstance(value, tuple | list) and len(value) == 2
    if not pair:
        fail(called, f"a {kind_of(value)}", f"two tensors, {names}")
    return tuple(value)


def check_number(value: Any, called: str) -> float:
    """value as a float: a Python number or a tensor without dimensions."""
    expected = "a Python number, or a tensor of shape ()"
    if isinstance(value, Tensor):
        think = "Is there a dimension of size 1 too many?" if value.numel() == 1 else "Over what does it run: all of w?"
        if value.dim() != 0:
            fail(called, describe(value), expected, think)
        return value.double().item()
    if not (isinstance(value, int | float) and not isinstance(value, bool)):
        fail(called, kind_of(value), expected)
    return float(value)


def check_value_errors(calls: dict[str, Callable], good: dict[str, Callable]) -> None:
    """The contract's ValueError in each call; a stub's NotImplementedError and a crash pass through as themselves.

    calls: by what is called and why it is bad, "quantize(w, 0.1), w is empty" for instance
    good:  such calls with nothing wrong about them, which have to come back: to refuse everything is no check
    """
    accepted = {}
    for called, call in calls.items():
        try:
            accepted[called] = call()
        except ValueError:
            continue
        except Exception as error:
            error.add_note(f"expected  a ValueError, from {called}")
            raise
    if accepted:
        (called, result), *others = accepted.items()
        calls[called]()  # once more, so that it is the last call, which a learner is sent to
        got = describe(result) if isinstance(result, Tensor) else kind_of(result)
        also = [other for other, _ in others[:ALSO]]
        also += [f"{len(others) - ALSO} more"] if len(others) > ALSO else []
        fail(called, f"{got}, and no error", "a ValueError", also=also)
    for called, call in good.items():
        try:
            call()
        except ValueError:
            think = "Which inputs get as far as your `raise`, and what is wrong with this one?"
            fail(called, "a ValueError", "a result: this is good input", think)


def check_unchanged(before: Tensor, after: Tensor, called: str) -> None:
    same = before.shape == after.shape and torch.equal(before, after)
    was, now = describe(before), describe(after)
    if not same and before.shape == after.shape:
        first = (before != after).nonzero()[0]
        was, now = f"{before[tuple(first)].item():.6g} at {at(first)}", f"{after[tuple(first)].item():.6g}"
    if not same:
        fail(
            called,
            f"the argument itself changed: it was {was}, now it is {now}",
            "the argument as it was",
            "Which of your operations work in place (a trailing underscore, `out=`, `+=`)?",
        )


def values(tensor: Tensor) -> str:
    """A small tensor in full: `[[1, -0.5]]`."""

    def nested(part: Any) -> str:
        return f"[{', '.join(map(nested, part))}]" if isinstance(part, list) else f"{part:g}"

    return nested(tensor.tolist())


def percent(share: float) -> str:
    """A tolerance in words: 0.005 -> "0.5 %"."""
    return f"{100 * share:g} %"


def kind_of(value: Any) -> str:
    kind = value.kind if hasattr(value, "kind") else type(value).__name__
    return "None" if value is None else kind


def at(index: Tensor) -> str:
    return "[" + ", ".join(str(int(i)) for i in index) + "]"


def _shape(tensor: Tensor) -> str:
    return str(tuple(tensor.shape))


def _text(value: Any) -> str:
    return f"{value:.6g}" if isinstance(value, float) else str(value)
