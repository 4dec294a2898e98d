"""The sandboxed student: `student` as suites know it, whose code runs in a worker.

The first layer of a sandboxed call: what goes in, what comes back, and what is a handle.

Only values come back, and only this side compares, times and judges. What a worker says about itself (which modes, what
it holds, which settings) is a value like any other: the word of untrusted code.
"""

import contextlib
from collections.abc import Callable, Iterator, Sequence
from functools import partial
from pathlib import Path
from traceback import FrameSummary
from typing import Any

import torch
from torch import Tensor, nn

from grader.results.failure import Failure
from grader.sandbox.policy import Walls
from grader.sandbox.protocol import Token
from grader.sandbox.worker_client import WorkerClient, Workers
from grader.suite.marshal import unpack
from grader.suite.reachable_tensors import Held
from grader.suite.scratch_files import Files
from grader.suite.source_place import place_of
from grader.suite.student import HANDLE_METHODS, LARGEST_FILE, Opaque, Origin, Ran, Returned, own_threads
from grader.suite.verdict import WrongAnswer
from llm.model import GPTConfig


class HandleGone(Exception):
    """What the test asked for was in a worker that is gone."""


class SandboxedStudent:
    """grader.suite.student.Student: one exercise of a submission, in a worker.

    workers: shared by the exercises of one submission that a suite asks; None: new ones
    """

    def __init__(self, submission: Path, exercise: str, walls: Walls, seed: int, workers: Workers | None = None):
        self.submission, self.returned, self.files = submission.resolve(), Returned(), Files()
        self._exercise, self.last_call, self._last_method = exercise, "", ("", "")
        self._changed: dict[int, tuple[Tensor, Tensor]] = {}  # by id: the suite's tensor, what the student made of it
        self._workers = workers or Workers(self.submission, walls, self.files.folder, seed)
        self.files.owner = walls.uid
        self._workers.student.start()

    def __getattr__(self, name: str) -> Callable:
        if name.startswith("_"):
            raise AttributeError(name)

        def call(*args, **kwargs) -> Any:
            self.last_call, self._last_method = name, ("", "")
            return self._ask(self._workers.student, "function", (self._exercise, name), name, args, kwargs)

        return call

    def exercise(self, name: str) -> "SandboxedStudent":
        other = SandboxedStudent(self.submission, name, self._workers.walls, self._workers.seed, self._workers)
        other.files, other.returned, other._changed = self.files, self.returned, self._changed
        return other

    def view(self, argument: nn.Module | Tensor) -> nn.Module | Tensor:
        if isinstance(argument, Tensor):
            return self._changed.get(id(argument), (argument, argument))[1]
        return self._workers.student.view(argument)

    def host(self, model: nn.Module) -> "SandboxedHandle":
        worker = self._workers.host
        return SandboxedHandle(self, worker, worker.hosted(model))

    def timed(self, call: "SandboxedHandle", *args) -> tuple[float, Any]:
        """Seconds until the full result lies in the shared buffer, and the result. All other workers stand still."""
        self._workers.only(call._worker)
        try:
            with self.returned.paused():
                return call._worker.timed(lambda: call(*args))
        finally:
            self._workers.go_on()

    def settings(self) -> dict[str, Any]:
        return self._workers.student.ask("settings")

    @contextlib.contextmanager
    def threads(self, count: int) -> Iterator[None]:
        before = self._workers.threads
        with own_threads(count):
            self._workers.set_threads(count)
            try:
                yield
            finally:
                self._workers.set_threads(before)

    @contextlib.contextmanager
    def engine(self, name: str) -> Iterator[None]:
        before = self.settings()["torch.backends.quantized.engine"]
        self._workers.student.ask("engine", name)
        try:
            yield
        finally:
            self._workers.student.ask("engine", str(before))

    def run(
        self,
        argv: list[str],
        shape: GPTConfig | None = None,
        largest_file: int | None = None,
        prints: bool = True,
    ) -> Ran:
        self.last_call, self._last_method = "main", ("", "")
        with self._marks("main", (argv,), {}):
            asked = (self._exercise, [str(a) for a in argv], shape, largest_file, prints)
            said = self._workers.student.ask("run", *asked)
        code, out, err, tokens, seen = said
        return Ran(int(code), str(out), str(err), int(tokens), int(seen))

    def fresh(self, function: str, file: str, then: tuple = ()) -> Any:
        files = Files()
        files.owner = self.files.owner
        path = files.write(Path(file).name, self.files.read(file, LARGEST_FILE))
        with self._workers.another(files.folder) as worker:
            try:
                receive = partial(SandboxedHandle, self, worker)
                call = ("function", (self._exercise, function), (path,), {}, receive, self._note_change)
                result = worker.call(*call)
                return result(*then) if then else result
            except Exception as error:
                got = f"{type(error).__name__}: {error}"
                called = f"{function}(path), in a fresh process"
                raise WrongAnswer(Failure(called=called, got=got, expected="a result")) from None

    def in_turn(
        self, call: "str | SandboxedHandle", *calls: tuple, methods: Sequence[str] = (), same: bool = False
    ) -> list[Any]:
        if isinstance(call, str):
            self.last_call, self._last_method = call, ("", "")
            return self._ask(self._workers.student, "functions", (self._exercise, call, same), call, calls, {})
        target = call.key, list(methods or [""] * len(calls)), same
        return self._ask(call._worker, "methods", target, call.kind, calls, {})

    def location(self) -> tuple[Path | None, int | None]:
        return place_of(self.submission / f"{self._exercise}.py", self.last_call, self._last_method)

    def forget_copies(self) -> None:
        self._workers.forget_copies()

    def begin_test(self, dice: int, seconds: float) -> None:
        self.returned.clear()
        self._changed.clear()
        torch.manual_seed(dice)
        self._workers.begin_test(dice, seconds)

    def close(self) -> None:
        self._workers.close()

    def _ask(self, worker: WorkerClient, kind: str, target: tuple, name: str, args: tuple, kwargs: dict) -> Any:
        try:
            with self._marks(name, args, kwargs):
                receive = partial(SandboxedHandle, self, worker)
                result = worker.call(kind, target, args, kwargs, receive, self._note_change)
        except Exception as error:
            self.returned.note_error(name, error)
            raise
        self.returned.note(name, result)
        return result

    def _note_change(self, own: Tensor, now: Tensor) -> None:
        self._changed[id(own)] = own, now  # kept alive: an id is not to be used again

    @contextlib.contextmanager
    def _marks(self, name: str, args: tuple, kwargs: dict) -> Iterator[None]:
        """Tells where in the student's code an exception came from, by the frames that came with it."""
        try:
            yield
        except (Exception, SystemExit) as error:
            frames: list[FrameSummary] | None = getattr(error, "_kata_frames", None)
            if frames is not None:
                error._kata_origin = Origin.of(self._exercise, name, args, kwargs, list(frames))
            raise


class SandboxedHandle:
    """grader.suite.student.Handle on an object in a worker."""

    def __init__(self, student: SandboxedStudent, worker: WorkerClient, token: Token):
        self._student, self._worker, (self._key, self._kind, self._is_module) = student, worker, token.fields
        self._life = worker.life

    def __call__(self, *args) -> Any:
        return self._method("", args, self._kind)

    def __getattr__(self, name: str) -> Callable:
        if name not in HANDLE_METHODS:
            raise AttributeError(f"a handle on a {self._kind} offers no {name}")
        return lambda *args: self._method(name, args, name)

    def __del__(self):
        with contextlib.suppress(Exception):
            self._worker.release(self._key, self._life)

    @property
    def kind(self) -> str:
        return self._kind

    @property
    def is_module(self) -> bool:
        return self._is_module

    @property
    def training(self) -> bool:
        return self._worker.ask("training", self.key) is True

    def modes(self) -> dict[str, bool]:
        return self._worker.ask("modes", self.key)

    def state_dict(self) -> dict[str, Any]:
        with self._student._marks("state_dict", (), {}):
            state = self._worker.ask("state_dict", self.key)
        return unpack(state, lambda value: Opaque(str(value.fields[1])) if isinstance(value, Token) else value)

    def held_tensors(self) -> list[Held]:
        return [Held(*fields) for fields in self._worker.ask("held_tensors", self.key)]

    @property
    def key(self) -> int:
        if self._life != self._worker.life:
            raise HandleGone("the process that held it ended in an earlier test")
        return self._key

    def _method(self, method: str, args: tuple, name: str) -> Any:
        called = method or ("forward" if self.is_module else "__call__")
        self._student._last_method = self._kind, called
        return self._student._ask(self._worker, "method", (self.key, method), name, args, {})
