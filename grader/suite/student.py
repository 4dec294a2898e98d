"""What a suite may ask of a student's code: `student` in every graded test, whichever process runs the code.

Two implementations stand side by side. suite/local_student.py runs the code in this process, so that a debugger and
`print` work; sandbox/sandboxed_student.py asks a worker. In both only values cross: a result is never an object that
could judge itself.
"""

import contextlib
import os
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from traceback import FrameSummary
from typing import TYPE_CHECKING, Any, Protocol

import torch
from torch import Tensor, nn

from grader.suite.scratch_files import Files
from llm.model import GPTConfig

if TYPE_CHECKING:
    from grader.suite.reachable_tensors import Held

HANDLE_METHODS = ("append", "read", "nbytes", "eval", "train")  # what a handle offers besides what Handle names
KEPT_BYTES = 64 << 20  # of the results that a test got, for a diagnosis when it fails
LARGEST_FILE = 256 << 20  # bytes of a file that a fresh process gets
SHORT = 40  # characters shown of an argument
MOST_SHOWN = 8  # parts shown of a list


class Student(Protocol):
    """One exercise of a submission. Every other name is a function of the exercise: student.quantize(w, 0.1)."""

    submission: Path
    last_call: str  # the function of the contract that was called last
    files: Files  # a scratch folder that both sides see
    returned: "Returned"

    def __getattr__(self, name: str) -> Callable: ...

    def exercise(self, name: str) -> "Student":
        """The same student's other exercise, such as an earlier one that this one builds on."""

    def view(self, argument: nn.Module | Tensor) -> nn.Module | Tensor:
        """The student's copy of a module or tensor that was passed in during this test, as it is now.

        What a suite compares with is thus out of a student's reach: its own module and tensor never change.
        """

    def host(self, model: nn.Module) -> "Handle":
        """A trusted module, called over the same road as a student's: a fair opponent when timing."""

    def timed(self, call: "Handle", *args) -> tuple[float, Any]:
        """Seconds until the full result is here, and the result."""

    def settings(self) -> dict[str, Any]:
        """PyTorch's global settings where the student's code runs."""

    def threads(self, count: int) -> contextlib.AbstractContextManager[None]:
        """While this lasts, both sides compute with so many threads."""

    def engine(self, name: str) -> contextlib.AbstractContextManager[None]:
        """While this lasts, torch.backends.quantized.engine is this one where the student's code runs."""

    def run(
        self,
        argv: list[str],
        shape: GPTConfig | None = None,
        largest_file: int | None = None,
        prints: bool = True,
    ) -> "Ran":
        """The exercise's main(argv), its exit code and what it printed.

        shape:        of the GPTs whose reading counts; None: of all
        largest_file: bytes beyond which no file grows meanwhile: a full disk; None: no limit
        prints:       whether its standard output can be written to
        """

    def fresh(self, function: str, file: str, then: tuple = ()) -> Any:
        """function(path)(*then) in a process of its own, which knows nothing of this one: values only.

        file:   of student.files; at `path` is a copy of it, alone in a folder
        raises: WrongAnswer where it failed
        """

    def in_turn(
        self, call: "str | Handle", *calls: tuple, methods: Sequence[str] = (), same: bool = False
    ) -> list[Any]:
        """The results of several calls, made one after the other where the student's code runs.

        call:    the name of a function, or a handle
        calls:   the arguments of each call
        methods: of the handle, one for each call; none: the handle itself is called
        same:    False: results are taken once all calls were made, so that one which a later call overwrites shows.
                 True: later calls get the very tensors and modules of the first, in which the later values were written
        """

    def forget_copies(self) -> None:
        """The next call gets new copies of the suite's modules."""

    def location(self) -> tuple[Path | None, int | None]:
        """File and line of the function that was called last, for a learner to open."""

    def begin_test(self, dice: int, seconds: float) -> None:
        """Nothing is left of the test before; chance begins with `dice`; the code has so many seconds."""

    def close(self) -> None:
        """To be told at the end."""


class Handle(Protocol):
    """Something a student returned that does not cross: a module, a cache. It can be called and read, not touched."""

    def __call__(self, *args) -> Any: ...

    def __getattr__(self, name: str) -> Callable:
        """One of HANDLE_METHODS."""

    @property
    def kind(self) -> str:
        """The name of its class."""

    @property
    def is_module(self) -> bool: ...

    @property
    def training(self) -> bool: ...

    def modes(self) -> dict[str, bool]:
        """The training flag of every submodule by its name."""

    def state_dict(self) -> dict[str, Any]:
        """Its values; of what does not cross, such as an extra state of a class of its own, an Opaque."""

    def held_tensors(self) -> list["Held"]:
        """Every tensor that can be reached from the object, registered or not."""


@dataclass(frozen=True)
class Ran:
    """What a script did.

    tokens: of all texts that two GPTs or more were seen to read, each text counted once; seen: that any was
    """

    code: int
    stdout: str
    stderr: str
    tokens: int
    seen: int


@dataclass(frozen=True)
class Opaque:
    """Stands in a state dict for what is no value."""

    kind: str


@dataclass(frozen=True)
class Origin:
    """Where in the student's code an exception came from, and what was called.

    file, line: the innermost line of the exercise itself; frames: from there on inwards, through earlier exercises too
    """

    function: str
    call: str
    file: Path | None
    line: int | None
    frames: tuple[FrameSummary, ...]

    @classmethod
    def of(cls, exercise: str, name: str, args: tuple, kwargs: dict, frames: list[FrameSummary]) -> "Origin":
        own = [k for k, frame in enumerate(frames) if Path(frame.filename).stem == exercise]
        frames = frames[own[-1] if own else -1 :]
        where = (Path(frames[0].filename), frames[0].lineno) if frames else (None, None)
        return cls(name, call_in_words(name, args, kwargs), *where, tuple(frames))


def origin(error: BaseException) -> Origin | None:
    """The student's frame an exception left through; None for the suite's own exceptions."""
    return getattr(error, "_kata_origin", None)


@contextlib.contextmanager
def named(call: str) -> Iterator[None]:
    """Where the student's code raises an error in here, the learner reads that this was called: `load_int8(P)`."""
    try:
        yield
    except (Exception, SystemExit) as error:
        if came_from := origin(error):
            error._kata_origin = replace(came_from, call=call)
        raise


class Returned:
    """What came back so far in a test, and from which call: what a diagnosis compares."""

    def __init__(self):
        self.values: list[tuple[str, Any]] = []
        self._room, self._records = KEPT_BYTES, True

    def clear(self) -> None:
        self.values.clear()
        self._room = KEPT_BYTES

    def note(self, name: str, result: Any) -> None:
        """Keeps a result by reference, as long as there is room."""
        tensors = result if isinstance(result, list | tuple) else [result]
        self._room -= sum(tensor.nbytes for tensor in tensors if isinstance(tensor, Tensor))
        if self._records and self._room > 0:
            self.values.append((name, result))

    def note_error(self, name: str, error: BaseException) -> None:
        self.values.append((name, type(error)))

    @contextlib.contextmanager
    def paused(self) -> Iterator[None]:
        """While something is timed: what is kept would need new memory for the next call."""
        self._records = False
        try:
            yield
        finally:
            self._records = True


def settings() -> dict[str, Any]:
    """PyTorch's global settings in this process."""
    return {
        "torch.backends.quantized.engine": torch.backends.quantized.engine,
        "torch.get_num_threads()": torch.get_num_threads(),
        "torch.get_float32_matmul_precision()": torch.get_float32_matmul_precision(),
        "torch.get_default_dtype()": torch.get_default_dtype(),
        "torch.is_grad_enabled()": torch.is_grad_enabled(),
    }


@contextlib.contextmanager
def own_threads(count: int) -> Iterator[None]:
    """While this lasts, this process computes with so many threads."""
    before = torch.get_num_threads()
    torch.set_num_threads(count)
    try:
        yield
    finally:
        torch.set_num_threads(before)


def call_in_words(name: str, args: tuple, kwargs: dict) -> str:
    words = [_in_words(value) for value in args] + [f"{key}={_in_words(value)}" for key, value in kwargs.items()]
    return f"{name}({', '.join(words)})"


def _in_words(value: Any) -> str:
    """An argument as a learner recognizes it: `float32 (64, 48)`, `GPT`, `8`."""
    if isinstance(value, Tensor):
        return f"{value.dtype} {tuple(value.shape)}".removeprefix("torch.")
    if isinstance(value, nn.Module) or hasattr(value, "is_module"):
        return getattr(value, "kind", type(value).__name__)
    if callable(value):
        return "a callable"
    if isinstance(value, str) and os.path.isabs(value):  # of a temporary folder, whose name says nothing
        return f"'.../{'/'.join(Path(value).parts[-2:])}'"
    if isinstance(value, list | tuple):
        shown = [_in_words(part) for part in value[:MOST_SHOWN]] + ["..."] * (len(value) > MOST_SHOWN)
        return f"[{', '.join(shown)}]" if isinstance(value, list) else f"({', '.join(shown)})"
    return text if len(text := repr(value)) <= SHORT else f"{text[:SHORT]}..."
