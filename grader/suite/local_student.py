"""The local student: runs the code in this process, so that a debugger and `print` work.

It rebuilds every argument and result through `pack` and `unpack`, as the wire to a worker does: an object that claims
to be equal to everything fools neither.
"""

import contextlib
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, nn

from grader.results.clean_environment import clean_environment
from grader.results.failure import Failure
from grader.results.paths import ROOT
from grader.suite import load_exercise
from grader.suite.calls_in_turn import results_in_turn
from grader.suite.marshal import change, copy_module, pack, refuse, tensors_within, unpack
from grader.suite.pytorch_quantization import choose_engine, quantized_engine, without_deprecation_warnings
from grader.suite.scratch_files import Files
from grader.suite.source_place import place_of
from grader.suite.student import (
    HANDLE_METHODS,
    LARGEST_FILE,
    Opaque,
    Origin,
    Ran,
    Returned,
    origin,
    own_threads,
    settings,
)
from grader.suite.verdict import WrongAnswer
from llm.model import GPTConfig

if TYPE_CHECKING:
    from grader.suite.reachable_tensors import Held


class LocalStudent:
    """grader.suite.student.Student in this process; nobody keeps the time here."""

    def __init__(self, submission: Path, exercise: str):
        self._exercise = exercise
        self._copies: dict[int, tuple[nn.Module, nn.Module]] = {}  # by id: the suite's module, the student's copy
        self._changed: dict[int, tuple[Tensor, Tensor]] = {}  # by id: the suite's tensor, what the student made of it
        self.last_call, self._last_method = "", ("", "")
        self.submission, self.returned, self.files = submission.resolve(), Returned(), Files()
        choose_engine()

    def __getattr__(self, name: str) -> Callable:
        if name.startswith("_"):
            raise AttributeError(name)
        return lambda *args, **kwargs: self._call(self._contract(name), name, args, kwargs)

    def exercise(self, name: str) -> "LocalStudent":
        other = LocalStudent(self.submission, name)
        other._copies, other._changed, other.files = self._copies, self._changed, self.files
        other.returned = self.returned
        return other

    def view(self, argument: nn.Module | Tensor) -> nn.Module | Tensor:
        if isinstance(argument, Tensor):
            return self._changed.get(id(argument), (argument, argument))[1]
        return self._copies[id(argument)][1]

    def host(self, model: nn.Module) -> "LocalHandle":
        return LocalHandle(self, model)

    def timed(self, call: "LocalHandle", *args) -> tuple[float, Any]:
        with self.returned.paused():
            began = time.perf_counter()
            result = call(*args)
            return time.perf_counter() - began, result

    def settings(self) -> dict[str, Any]:
        return settings()

    def threads(self, count: int) -> contextlib.AbstractContextManager[None]:
        return own_threads(count)

    def engine(self, name: str) -> contextlib.AbstractContextManager[None]:
        return quantized_engine(name)

    def run(
        self,
        argv: list[str],
        shape: GPTConfig | None = None,
        largest_file: int | None = None,
        prints: bool = True,
    ) -> Ran:
        from grader.suite.script_run import run_script

        main = self._contract("main")
        try:
            return run_script(main, argv, shape, largest_file, prints)
        except Exception as error:
            self._mark(error, "main", (argv,), {})
            raise

    def fresh(self, function: str, file: str, then: tuple = ()) -> Any:
        self._contract(function)
        values = pack(then, refuse)
        with tempfile.TemporaryDirectory() as folder, tempfile.TemporaryDirectory() as apart:
            job, answer, copy = Path(folder, "job"), Path(folder, "answer"), Path(apart, Path(file).name)
            copy.write_bytes(self.files.read(file, LARGEST_FILE))
            torch.save((str(self.submission), self._exercise, function, (str(copy),), unpack(values)), job)
            command = [sys.executable, "-m", "grader.suite.fresh_process", str(job), str(answer)]
            done = subprocess.run(
                command,
                capture_output=True,
                text=True,
                stdin=subprocess.DEVNULL,
                cwd=ROOT,
                env=clean_environment(),
            )
            if done.returncode or not answer.exists():
                last = (done.stderr.strip().splitlines() or ["no message"])[-1]
                got = f"exit code {done.returncode}: {last}"
                raise WrongAnswer(Failure(called=f"{function}(path), in a fresh process", got=got, expected="a result"))
            return torch.load(answer, weights_only=True)

    def in_turn(
        self, call: "str | LocalHandle", *calls: tuple, methods: Sequence[str] = (), same: bool = False
    ) -> list[Any]:
        if isinstance(call, str):
            functions = [self._contract(call)] * len(calls)
            return self._call(partial(self._in_turn, functions, same), call, calls, {}, packed=True)
        target, names = call._object, methods or [""] * len(calls)
        functions = [getattr(target, name) if name else target for name in names]
        with torch.no_grad():
            return self._call(partial(self._in_turn, functions, same), call.kind, calls, {}, packed=True)

    def _in_turn(self, functions: list[Callable], same: bool, *calls: tuple) -> list[Any]:
        """Results that are packed already: some of them before the next call."""
        return results_in_turn(functions, calls, same, lambda result: pack(result, self._receive))

    def location(self) -> tuple[Path | None, int | None]:
        return place_of(self.submission / f"{self._exercise}.py", self.last_call, self._last_method)

    def forget_copies(self) -> None:
        self._copies.clear()

    def close(self) -> None:
        """Nothing outlives this student."""

    def begin_test(self, dice: int, seconds: float) -> None:
        torch.manual_seed(dice)
        self._copies.clear()
        self._changed.clear()
        self.returned.clear()

    def _contract(self, name: str) -> Callable:
        """The student's function of this name, from now on the one that was called last."""
        self.last_call, self._last_method = name, ("", "")
        function = getattr(load_exercise.load(self.submission, self._exercise), name, None)
        if not callable(function):
            raise load_exercise.not_started(f"{self._exercise}.py has no function `{name}`")
        return function

    def _call(self, function: Callable, name: str, args: tuple, kwargs: dict, packed: bool = False) -> Any:
        """packed: whether the function's result is packed already"""
        sent = pack((args, kwargs), self._send)
        theirs, their_kwargs = unpack(sent)
        try:
            with without_deprecation_warnings():
                result = function(*theirs, **their_kwargs)
        except (Exception, SystemExit) as error:
            self._note_changes(sent, (theirs, their_kwargs), (args, kwargs))
            self._mark(error, name, args, kwargs)
            self.returned.note_error(name, error)
            raise
        self._note_changes(sent, (theirs, their_kwargs), (args, kwargs))
        result = unpack(result if packed else pack(result, self._receive))
        self.returned.note(name, result)
        return result

    def _send(self, value: Any) -> Any:
        """What else crosses to the student: handles come home, modules are copied, callables are wrapped."""
        if isinstance(value, LocalHandle):
            return value._object
        if isinstance(value, nn.Module):
            if id(value) not in self._copies:
                self._copies[id(value)] = (value, copy_module(value))
            return self._copies[id(value)][1]
        if callable(value):
            return lambda *args: unpack(pack(value(*unpack(pack(args, refuse))), refuse))
        return refuse(value)

    def _receive(self, value: Any) -> "LocalHandle":
        return LocalHandle(self, value)

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
            frames = load_exercise.frames(error, self.submission)
            error._kata_origin = Origin.of(self._exercise, name, args, kwargs, frames)


class LocalHandle:
    """grader.suite.student.Handle on an object in this process."""

    def __init__(self, student: LocalStudent, value: Any):
        self._student, self._object = student, value

    def __call__(self, *args, **kwargs) -> Any:
        self._student._last_method = self.kind, "forward" if self.is_module else "__call__"
        with torch.no_grad():
            return self._student._call(self._object, self.kind, args, kwargs)

    def __getattr__(self, name: str) -> Callable:
        if name not in HANDLE_METHODS or not hasattr(self._object, name):
            raise AttributeError(f"a handle on a {self.kind} offers no {name}")

        def call(*args) -> Any:
            self._student._last_method = self.kind, name
            return self._student._call(getattr(self._object, name), name, args, {})

        return call

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
        return {name: module.training for name, module in self._object.named_modules()}

    def state_dict(self) -> dict[str, Any]:
        state = self._student._call(lambda: dict(self._object.state_dict()), "state_dict", (), {})
        return unpack(state, lambda value: Opaque(value.kind) if isinstance(value, LocalHandle) else value)

    def held_tensors(self) -> list["Held"]:
        from grader.suite.reachable_tensors import held_tensors

        return held_tensors(self._object)
