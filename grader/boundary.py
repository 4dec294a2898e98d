"""The line between a suite and a student's code: what crosses it, and the local door through it.

Suites talk to one object, `student`. The local door below runs the student's code in this process, so that a debugger
and `print` work, yet rebuilds every argument and result through `pack` and `unpack` as a wire would: a result is
values, never an object that could judge itself. A second door, to a process that is not trusted, wears the same face.
"""

import contextlib
import subprocess
import sys
import tempfile
import time
import traceback
import warnings
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from grader import loader, reach
from grader.files import Files
from grader.losses import Loss
from grader.script import TEXT_LIMIT, Printed, watched
from grader.values import change, copy_module, pack, refuse, tensors_within, unpack
from llm.model import GPTConfig

HANDLE_METHODS = ("append", "read", "nbytes", "eval", "train")  # what a handle offers besides the fixed face
KEPT_BYTES = 64 << 20  # of the results that a test got, for a diagnosis when it fails
LARGEST_FILE = 256 << 20  # bytes of a file that a fresh process gets
SHORT = 40  # characters shown of an argument
QUIET = ((DeprecationWarning, ""), (UserWarning, "torch.quantize_per_"))  # PyTorch's affairs, and no learner's


class Undecided(pytest.skip.Exception):
    """This machine cannot judge this: neither passed nor failed."""


class Lost(Exception):
    """The process with the student's code came to its end during a test."""

    def __init__(self, loss: Loss, kind: str = ""):
        super().__init__(loss.message)
        self.loss, self.kind = loss, kind


@dataclass(frozen=True)
class Origin:
    """Where in the student's code an exception came from, and what was called.

    file, line: the innermost line of the exercise itself; frames: from there on inwards, through earlier exercises too
    """

    function: str
    call: str
    file: Path | None
    line: int | None
    frames: tuple[traceback.FrameSummary, ...]


def origin(error: BaseException) -> Origin | None:
    """The student's frame an exception left through; None for the suite's own exceptions."""
    return getattr(error, "_kata_origin", None)


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


class Student:
    """One exercise of a submission, as suites see it: call its functions by name.

    Also: exercise(name), view(model), host(model), timed(call, ...), threads(n), engine(name), settings(), run(argv),
    fresh(...), files.
    """

    def __init__(self, submission: Path, exercise: str):
        self._exercise = exercise
        self._copies: dict[int, tuple[nn.Module, nn.Module]] = {}  # by id: the suite's module, the student's copy
        self._changed: dict[int, tuple[Tensor, Tensor]] = {}  # by id: the suite's tensor, what the student made of it
        self._last_call = ""
        self._records, self._room = True, KEPT_BYTES
        self.submission = submission.resolve()
        self.returned: list[tuple[str, Any]] = []  # what came back so far in this test, and from which call
        self.files = Files()

    def __getattr__(self, name: str) -> Callable:
        if name.startswith("_"):
            raise AttributeError(name)
        return lambda *args, **kwargs: self._call(self._contract(name), name, args, kwargs)

    def exercise(self, name: str) -> "Student":
        """The same student's other exercise, such as an earlier one that this one builds on."""
        other = Student(self.submission, name)
        other._copies, other._changed, other.files = self._copies, self._changed, self.files
        other.returned = self.returned
        return other

    def view(self, argument: nn.Module | Tensor) -> nn.Module | Tensor:
        """The student's copy of a module or tensor that was passed in during this test, as it is now.

        What a suite compares with is thus out of a student's reach: its own module and tensor never change.
        """
        if isinstance(argument, Tensor):
            return self._changed.get(id(argument), (argument, argument))[1]
        return self._copies[id(argument)][1]

    def host(self, model: nn.Module) -> "Handle":
        """A trusted module, called over the same road as a student's: a fair opponent when timing."""
        return Handle(self, model)

    def timed(self, call: "Handle", *args) -> tuple[float, Any]:
        """Seconds until the full result is here, and the result."""
        self._records = False  # what is kept would need new memory for the next call
        try:
            began = time.perf_counter()
            result = call(*args)
            return time.perf_counter() - began, result
        finally:
            self._records = True

    def settings(self) -> dict[str, Any]:
        """PyTorch's global settings where the student's code runs."""
        return settings()

    @contextlib.contextmanager
    def threads(self, count: int) -> Iterator[None]:
        """While this lasts, both sides compute with so many threads."""
        before = torch.get_num_threads()
        torch.set_num_threads(count)
        try:
            yield
        finally:
            torch.set_num_threads(before)

    def engine(self, name: str) -> contextlib.AbstractContextManager[None]:
        """While this lasts, torch.backends.quantized.engine is this one where the student's code runs."""
        return quantized_engine(name)

    def run(self, argv: list[str], breaks: str = "", shape: GPTConfig | None = None) -> Ran:
        """The exercise's main(argv), its exit code and what it printed.

        breaks: raise OSError with this message as soon as a GPT is called, in the middle of the work
        shape:  of the GPTs whose reading counts; None: of all
        """
        main, out, err = self._contract("main"), Printed(), Printed()
        streams = contextlib.redirect_stdout(out.stream), contextlib.redirect_stderr(err.stream)
        try:
            with streams[0], streams[1], loader.own_logging(), watched(breaks, shape) as readers:
                try:
                    code = main([str(argument) for argument in argv])
                except SystemExit as stop:
                    code = stop.code
                except Exception as error:
                    self._mark(error, "main", (argv,), {})
                    raise
        finally:
            said, complained = out.end(), err.end()
        if not isinstance(code, int | None):  # as the interpreter does it: anything else is printed, and means 1
            code, complained = 1, f"{complained}{code}\n"[-TEXT_LIMIT:]
        return Ran(int(code or 0), said, complained, *readers.counts())

    def fresh(self, function: str, file: str, then: tuple = ()) -> Any:
        """function(path)(*then) in a process of its own, which knows nothing of this one: values only.

        file:   of student.files; at `path` is a copy of it, alone in a folder
        raises: AssertionError with the end of the process's stderr where it failed
        """
        self._contract(function)
        values = pack(then, refuse)
        with tempfile.TemporaryDirectory() as folder, tempfile.TemporaryDirectory() as apart:
            job, answer, copy = Path(folder, "job"), Path(folder, "answer"), Path(apart, Path(file).name)
            copy.write_bytes(self.files.read(file, LARGEST_FILE))
            torch.save((str(self.submission), self._exercise, function, (str(copy),), unpack(values)), job)
            command = [sys.executable, "-m", "grader.fresh", str(job), str(answer)]
            root = Path(__file__).parent.parent
            done = subprocess.run(command, capture_output=True, text=True, stdin=subprocess.DEVNULL, cwd=root)
            if done.returncode or not answer.exists():
                last = (done.stderr.strip().splitlines() or ["no message"])[-1]
                raise AssertionError(f"in a fresh process, {function} ended with code {done.returncode}: {last}")
            return torch.load(answer, weights_only=True)

    def location(self) -> tuple[Path | None, int | None]:
        """File and line of the function that was called last, for a learner to open."""
        file = self.submission / f"{self._exercise}.py"
        code = getattr(sys.modules.get(f"{loader.PACKAGE}.{self._exercise}"), self._last_call, None)
        code = getattr(code, "__code__", None)
        return (Path(code.co_filename), code.co_firstlineno) if code else (file if file.exists() else None, None)

    def forget_copies(self) -> None:
        self._copies.clear()

    @property
    def among(self) -> Path:
        """The folder whose other exercises a wrong answer is put among, to be compared with this one."""
        return self.submission

    def close(self) -> None:
        """To be told at the end."""

    def begin_test(self, dice: int, seconds: float) -> None:
        """Nothing is left of the test before; chance begins with `dice`. Nobody keeps the time in this process."""
        torch.manual_seed(dice)
        self._copies.clear()
        self._changed.clear()
        self.returned.clear()
        self._room = KEPT_BYTES

    def _contract(self, name: str) -> Callable:
        """The student's function of this name, from now on the one that was called last."""
        self._last_call = name
        function = getattr(loader.load(self.submission, self._exercise), name, None)
        if not callable(function):
            raise loader.Problem("not started", f"{self._exercise}.py has no function `{name}`")
        return function

    def _call(self, function: Callable, name: str, args: tuple, kwargs: dict) -> Any:
        packed = pack((args, kwargs), self._send)
        theirs, their_kwargs = unpack(packed)
        try:
            with warnings.catch_warnings():
                for category, message in QUIET:
                    warnings.filterwarnings("ignore", message, category)
                result = function(*theirs, **their_kwargs)
        except (Exception, SystemExit) as error:
            self._note_changes(packed, (theirs, their_kwargs), (args, kwargs))
            self._mark(error, name, args, kwargs)
            self.returned.append((name, type(error)))
            raise
        self._note_changes(packed, (theirs, their_kwargs), (args, kwargs))
        result = unpack(pack(result, self._receive))
        self._keep(name, result)
        return result

    def _keep(self, name: str, result: Any) -> None:
        """Notes a result by reference, as long as there is room."""
        tensors = result if isinstance(result, list | tuple) else [result]
        self._room -= sum(tensor.nbytes for tensor in tensors if isinstance(tensor, Tensor))
        if self._records and self._room > 0:
            self.returned.append((name, result))

    def _send(self, value: Any) -> Any:
        """What else crosses to the student: handles come home, modules are copied, callables are wrapped."""
        if isinstance(value, Handle):
            return value._object
        if isinstance(value, nn.Module):
            if id(value) not in self._copies:
                self._copies[id(value)] = (value, copy_module(value))
            return self._copies[id(value)][1]
        if callable(value):
            return lambda *args: unpack(pack(value(*unpack(pack(args, refuse))), refuse))
        return refuse(value)

    def _receive(self, value: Any) -> "Handle":
        return Handle(self, value)

    def _note_changes(self, packed: Any, theirs: Any, ours: Any) -> None:
        """What the student made of tensor arguments, for view."""
        pairs = zip(tensors_within(packed, theirs), tensors_within(packed, ours), strict=True)
        for (before, tensor), (_, own) in pairs:
            if new := change(before, tensor):
                self._note_change(own, unpack(new))

    def _note_change(self, own: Tensor, now: Tensor) -> None:
        self._changed[id(own)] = own, now  # kept alive: an id is not to be used again

    def _mark(self, error: BaseException, name: str, args: tuple, kwargs: dict) -> None:
        if origin(error) is None:
            frames = loader.frames(error, self.submission)
            own = [k for k, frame in enumerate(frames) if Path(frame.filename).stem == self._exercise]
            frames = frames[own[-1] if own else -1 :]
            where = (Path(frames[0].filename), frames[0].lineno) if frames else (None, None)
            error._kata_origin = Origin(name, call_in_words(name, args, kwargs), *where, tuple(frames))


class Handle:
    """Something a student returned that does not cross: a module, a cache. It can be called and read, not touched."""

    def __init__(self, door: Student, value: Any):
        self._door, self._object = door, value

    def __call__(self, *args, **kwargs) -> Any:
        with torch.no_grad():
            return self._door._call(self._object, self.kind, args, kwargs)

    def __getattr__(self, name: str) -> Callable:
        if name not in HANDLE_METHODS or not hasattr(self._object, name):
            raise AttributeError(f"a handle on a {self.kind} offers no {name}")
        return lambda *args: self._door._call(getattr(self._object, name), name, args, {})

    @property
    def kind(self) -> str:
        return type(self._object).__name__

    @property
    def is_module(self) -> bool:
        return isinstance(self._object, nn.Module)

    @property
    def training(self) -> bool:
        return bool(self._object.training)

    def modes(self) -> dict[str, bool]:
        """The training flag of every submodule by its name."""
        return {name: module.training for name, module in self._object.named_modules()}

    def state_dict(self) -> dict[str, Any]:
        """Its values; of what does not cross, such as an extra state of a class of its own, no more than the kind."""
        state = self._door._call(lambda: dict(self._object.state_dict()), "state_dict", (), {})
        return unpack(state, lambda value: Opaque(value.kind) if isinstance(value, Handle) else value)

    def held_tensors(self) -> list[reach.Held]:
        """Every tensor that can be reached from the object, registered or not."""
        return reach.held_tensors(self._object)


@dataclass(frozen=True)
class Opaque:
    """Stands in a state dict for what is no value."""

    kind: str


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
def quantized_engine(name: str) -> Iterator[None]:
    """While this lasts, PyTorch packs quantized weights for this engine's kernels."""
    before = torch.backends.quantized.engine
    torch.backends.quantized.engine = name
    try:
        yield
    finally:
        torch.backends.quantized.engine = before


def call_in_words(name: str, args: tuple, kwargs: dict) -> str:
    words = [_in_words(value) for value in args] + [f"{key}={_in_words(value)}" for key, value in kwargs.items()]
    return f"{name}({', '.join(words)})"


def _in_words(value: Any) -> str:
    """An argument as a learner recognizes it: `float32 (64, 48)`, `GPT`, `8`."""
    if isinstance(value, Tensor):
        return f"{value.dtype} {tuple(value.shape)}".removeprefix("torch.")
    if isinstance(value, nn.Module | Handle):
        return getattr(value, "kind", type(value).__name__)
    if callable(value):
        return "a callable"
    return text if len(text := repr(value)) <= SHORT else f"{text[:SHORT]}..."
