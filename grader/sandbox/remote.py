"""The sandboxed door: `student` as suites know it, whose code runs in a worker.

Only values come back, and only this side compares, times and judges. What a worker says about itself (which modes, what
it holds, which settings) is a value like any other: the word of code that nobody vouches for.
"""

import contextlib
import re
import traceback
from collections.abc import Callable, Iterator, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from grader import boundary
from grader.boundary import Handle, Opaque, Origin, Ran, Student
from grader.files import Files
from grader.reach import Held
from grader.sandbox.station import Home, Station
from grader.sandbox.walls import Walls
from grader.sandbox.wire import Token
from grader.syllabus import ROOT
from grader.values import unpack
from llm.model import GPTConfig

SOLUTIONS = ROOT / "solutions"


class Gone(Exception):
    """What the test asked for was in a worker that is gone."""


class RemoteStudent(Student):
    """One exercise of a submission in a worker of its own.

    home: shared by the exercises of one submission that a suite talks to
    """

    def __init__(self, submission: Path, exercise: str, walls: Walls, seed: int, home: "Home | None" = None):
        super().__init__(submission, exercise)
        self._home = home or Home(self.submission, walls, self.files.folder, seed)
        self.files.owner = walls.uid
        self._home.student.start()

    def exercise(self, name: str) -> "RemoteStudent":
        other = RemoteStudent(self.submission, name, self._home.walls, self._home.seed, self._home)
        other.files, other.returned, other._changed = self.files, self.returned, self._changed
        return other

    def view(self, argument: nn.Module | Tensor) -> nn.Module | Tensor:
        return super().view(argument) if isinstance(argument, Tensor) else self._home.student.view(argument)

    def host(self, model: nn.Module) -> "RemoteHandle":
        cell = self._home.host
        token = cell.hosted(model)
        return RemoteHandle(self, cell, token)

    def timed(self, call: "RemoteHandle", *args) -> tuple[float, Any]:
        """Seconds until the full result lies in the shared buffer, and the result. All other workers stand still."""
        self._home.only(call._cell)
        try:
            self._records = False
            return call._cell.timed(lambda: call(*args))
        finally:
            self._records = True
            self._home.go_on()

    def settings(self) -> dict[str, Any]:
        return self._home.student.ask("settings")

    @contextlib.contextmanager
    def threads(self, count: int) -> Iterator[None]:
        with super().threads(count):
            before = self._home.threads
            self._home.set_threads(count)
            try:
                yield
            finally:
                self._home.set_threads(before)

    @contextlib.contextmanager
    def engine(self, name: str) -> Iterator[None]:
        before = self.settings()["torch.backends.quantized.engine"]
        self._home.student.ask("engine", name)
        try:
            yield
        finally:
            self._home.student.ask("engine", str(before))

    def run(self, argv: list[str], breaks: str = "", shape: GPTConfig | None = None) -> Ran:
        self._last_call = "main"
        with self._marks("main", (argv,), {}):
            said = self._home.student.ask("run", self._exercise, [str(a) for a in argv], breaks, shape)
        code, out, err, tokens, seen = said
        return Ran(int(code), str(out), str(err), int(tokens), int(seen))

    def fresh(self, function: str, file: str, then: tuple = ()) -> Any:
        files = Files()
        files.owner = self.files.owner
        path = files.write(Path(file).name, self.files.read(file, boundary.LARGEST_FILE))
        with self._home.another(files.folder) as cell:
            try:
                receive = partial(RemoteHandle, self, cell)
                call = ("function", (self._exercise, function), (path,), {}, receive, self._note_change)
                result = cell.call(*call)
                return result(*then) if then else result
            except Exception as error:
                name = f"{type(error).__name__}: {error}"
                raise AssertionError(f"in a fresh process, {function} failed: {name}") from None

    @property
    def among(self) -> Path:
        # What is compared runs on this side, where nothing of the student's is imported. Where there are only stubs,
        # and no solutions, mistakes that build on no other exercise are recognized.
        return SOLUTIONS if SOLUTIONS.is_dir() else ROOT / "exercises"

    def location(self) -> tuple[Path | None, int | None]:
        file = self.submission / f"{self._exercise}.py"
        if not file.exists():
            return None, None
        lines = file.read_text(errors="replace").splitlines()
        defined = re.compile(rf"(async )?def {re.escape(self._last_call or ' ')}\b")
        places = [k for k, line in enumerate(lines, 1) if defined.match(line)]
        return file, places[-1] if places else None  # the last one is what runs

    def forget_copies(self) -> None:
        self._home.forget_copies()

    def begin_test(self, dice: int, seconds: float) -> None:
        self.returned.clear()
        self._changed.clear()
        self._room = boundary.KEPT_BYTES
        torch.manual_seed(dice)
        self._home.begin_test(dice, seconds)

    def close(self) -> None:
        self._home.close()

    def _contract(self, name: str) -> Callable:
        self._last_call = name
        return lambda *args, **kwargs: self._ask("function", (self._exercise, name), name, args, kwargs)

    def __getattr__(self, name: str) -> Callable:
        if name.startswith("_"):
            raise AttributeError(name)
        return lambda *args, **kwargs: self._contract(name)(*args, **kwargs)

    def _ask(self, kind: str, target: tuple, name: str, args: tuple, kwargs: dict, cell: "Station | None" = None):
        station = cell or self._home.student
        try:
            with self._marks(name, args, kwargs):
                receive = partial(RemoteHandle, self, station)
                result = station.call(kind, target, args, kwargs, receive, self._note_change)
        except Exception as error:
            self.returned.append((name, type(error)))
            raise
        self._keep(name, result)
        return result

    @contextlib.contextmanager
    def _marks(self, name: str, args: tuple, kwargs: dict) -> Iterator[None]:
        """Tells where in the student's code an exception came from, by the frames that came with it."""
        try:
            yield
        except (Exception, SystemExit) as error:
            frames = getattr(error, "_kata_frames", None)
            if frames is not None:
                error._kata_origin = self._origin(name, args, kwargs, frames)
            raise

    def _origin(self, name: str, args: tuple, kwargs: dict, frames: Sequence[traceback.FrameSummary]) -> Origin:
        own = [k for k, frame in enumerate(frames) if Path(frame.filename).stem == self._exercise]
        frames = list(frames)[own[-1] if own else -1 :]
        where = (Path(frames[0].filename), frames[0].lineno) if frames else (None, None)
        return Origin(name, boundary.call_in_words(name, args, kwargs), *where, tuple(frames))


class RemoteHandle(Handle):
    """Something in a worker that does not cross."""

    def __init__(self, door: RemoteStudent, cell: "Station", token: Token):
        self._door, self._cell, (self._key, self._kind, self._is_module) = door, cell, token.fields
        self._life = cell.life

    def __call__(self, *args, **kwargs) -> Any:
        return self._method("", args, self._kind)

    def __getattr__(self, name: str) -> Callable:
        if name not in boundary.HANDLE_METHODS:
            raise AttributeError(f"a handle on a {self._kind} offers no {name}")
        return lambda *args: self._method(name, args, name)

    def __del__(self):
        with contextlib.suppress(Exception):
            self._cell.release(self._key, self._life)

    @property
    def kind(self) -> str:
        return self._kind

    @property
    def is_module(self) -> bool:
        return self._is_module

    @property
    def training(self) -> bool:
        return self._cell.ask("training", self.key) is True

    def modes(self) -> dict[str, bool]:
        return self._cell.ask("modes", self.key)

    def state_dict(self) -> dict[str, Any]:
        with self._door._marks("state_dict", (), {}):
            state = self._cell.ask("state_dict", self.key)
        return unpack(state, lambda value: Opaque(str(value.fields[1])) if isinstance(value, Token) else value)

    def held_tensors(self) -> list[Held]:
        return [Held(*fields) for fields in self._cell.ask("held_tensors", self.key)]

    @property
    def key(self) -> int:
        if self._life != self._cell.life:
            raise Gone("the process that held it ended in an earlier test")
        return self._key

    def _method(self, method: str, args: tuple, name: str) -> Any:
        return self._door._ask("method", (self.key, method), name, args, {}, self._cell)
