"""The sandboxed door: `student` as suites know it, whose code runs in a worker.

Only values come back, and only this side compares, times and judges. What a worker says about itself (which modes, what
it holds, which settings) is a value like any other: the word of code that nobody vouches for.
"""

import builtins
import contextlib
import itertools
import re
import sys
import time
import traceback
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import torch
from torch import nn

from grader import boundary, loader, losses
from grader.boundary import Handle, Origin, Ran, Student
from grader.reach import Held
from grader.sandbox.cell import START_SECONDS, Cell, Lost
from grader.sandbox.walls import Walls
from grader.sandbox.wire import Frame, Token
from grader.syllabus import ROOT
from grader.values import copy_module, module_bytes, pack, refuse, tensors_within, unpack, write_back

SOLUTIONS = ROOT / "solutions"
REPLACEMENTS = 1  # workers that an exercise gets after its first
DYING_SECONDS = 5  # for a worker whose end of the line is closed
EVER = 86_400.0  # seconds
NOT_RUN = "not run: an earlier test did not finish"
SPARE_THREADS = 1.3  # times the processor time that the allowed threads could have taken
RAISED = {  # that can be told by their kind; everything else becomes an Exception of the same name
    *(ArithmeticError, AssertionError, AttributeError, EOFError, FloatingPointError, ImportError, IndexError, KeyError),
    *(LookupError, MemoryError, NameError, NotImplementedError, OSError, OverflowError, RecursionError, RuntimeError),
    *(StopIteration, TypeError, ValueError, ZeroDivisionError, FileNotFoundError, PermissionError),
    *(ModuleNotFoundError, UnboundLocalError, TimeoutError),
}


class Gone(Exception):
    """What the test asked for was in a worker that is gone."""


class RemoteStudent(Student):
    """One exercise of a submission in a worker of its own.

    home: shared by the exercises of one submission that a suite talks to
    """

    def __init__(self, submission: Path, exercise: str, walls: Walls, seed: int, home: "_Home | None" = None):
        super().__init__(submission, exercise)
        self._home = home or _Home(self.submission, walls, Path(self._scratch.name), seed)
        self._home.student.start()

    def exercise(self, name: str) -> "RemoteStudent":
        other = RemoteStudent(self.submission, name, self._home.walls, self._home.seed, self._home)
        other.files, other._scratch, other.returned = self.files, self._scratch, self.returned
        return other

    def view(self, model: nn.Module) -> nn.Module:
        return self._home.student.view(model)

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

    def run(self, argv: list[str], breaks: str = "") -> Ran:
        self._last_call = "main"
        with self._marks("main", (argv,), {}):
            code, out, err, tokens = self._home.student.ask("run", self._exercise, [str(a) for a in argv], breaks)
        return Ran(int(code), str(out), str(err), int(tokens))

    def fresh(self, function: str, *args, then: tuple = ()) -> Any:
        with self._home.another() as cell:
            try:
                result = cell.call(self, "function", (self._exercise, function), args, {})
                return result(*then) if then else result
            except Exception as error:
                name = f"{type(error).__name__}: {error}"
                raise AssertionError(f"in a fresh process, {function} failed: {name}") from None

    @property
    def among(self) -> Path:
        return SOLUTIONS  # what is compared runs on this side, where nothing of the student's is imported

    def location(self) -> tuple[Path | None, int | None]:
        file = self.submission / f"{self._exercise}.py"
        if not file.exists():
            return None, None
        lines = file.read_text(errors="replace").splitlines()
        defined = re.compile(rf"(async )?def {re.escape(self._last_call or ' ')}\b")
        return file, next((k for k, line in enumerate(lines, 1) if defined.match(line)), None)

    def forget_copies(self) -> None:
        self._home.forget_copies()

    def begin_test(self, dice: int, seconds: float) -> None:
        self.returned.clear()
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

    def _ask(self, kind: str, target: tuple, name: str, args: tuple, kwargs: dict, cell: "_Station | None" = None):
        try:
            with self._marks(name, args, kwargs):
                result = (cell or self._home.student).call(self, kind, target, args, kwargs)
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

    def __init__(self, door: RemoteStudent, cell: "_Station", token: Token):
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
            return unpack(self._cell.ask("state_dict", self.key))

    def held_tensors(self) -> list[Held]:
        return [Held(*fields) for fields in self._cell.ask("held_tensors", self.key)]

    @property
    def key(self) -> int:
        if self._life != self._cell.life:
            raise Gone("the process that held it ended in an earlier test")
        return self._key

    def _method(self, method: str, args: tuple, name: str) -> Any:
        return self._door._ask("method", (self.key, method), name, args, {}, self._cell)


class _Home:
    """The workers of one suite: the student's, and one for what the suite brings to compare with."""

    def __init__(self, submission: Path, walls: Walls, scratch: Path, seed: int):
        self.walls, self.seed, self.threads = walls, seed, torch.get_num_threads()
        self._submission, self.scratch = submission, scratch
        self._keys = itertools.count(1)
        self.student = _Station(self, submission)
        self._host: _Station | None = None
        self.until, self.seconds = time.monotonic() + EVER, EVER

    @property
    def host(self) -> "_Station":
        if self._host is None:
            self._host = _Station(self, None)
        return self._host

    def cell(self, submission: Path | None) -> Cell:
        return Cell(self.walls, submission, self.scratch, self.threads, self.seed)

    def new_key(self) -> int:
        return next(self._keys)

    def stations(self) -> list["_Station"]:
        return [station for station in (self.student, self._host) if station]

    @contextlib.contextmanager
    def another(self) -> Iterator["_Station"]:
        station = _Station(self, self._submission)
        try:
            yield station
        finally:
            station.close()

    def set_threads(self, count: int) -> None:
        self.threads = count
        for station in self.stations():
            station.set_threads(count)

    def only(self, station: "_Station") -> None:
        for other in self.stations():
            if other is not station:
                other.pause()

    def go_on(self) -> None:
        for station in self.stations():
            station.resume()

    def begin_test(self, dice: int, seconds: float) -> None:
        self.until, self.seconds = time.monotonic() + START_SECONDS, START_SECONDS
        for station in self.stations():
            station.forget()
        self.student.begin(dice)
        self.until, self.seconds = time.monotonic() + seconds, seconds

    def forget_copies(self) -> None:
        for station in self.stations():
            station.forget()

    def close(self) -> None:
        for station in self.stations():
            station.close()


class _Station:
    """A worker that is started when it is needed, and once more when it was lost."""

    def __init__(self, home: _Home, submission: Path | None):
        self._home, self._submission = home, submission
        self._cell: Cell | None = None
        self.life = 0  # how many workers there were
        self.seconds = 0.0  # that the last answer took
        self._sent: dict[int, tuple[int, nn.Module]] = {}  # modules of the suite by id: their key there
        self._loss: losses.Loss | None = None  # the last worker's
        self._released: list[int] = []
        self._from_the_suite: Exception | None = None
        self._wall = self._processor = 0.0  # seconds of what was timed

    def ask(self, kind: str, *body: Any) -> Any:
        """raises: what the worker raised; boundary.Lost"""
        return self._exchange(kind, body, [])

    def call(self, door: RemoteStudent, kind: str, target: tuple, args: tuple, kwargs: dict) -> Any:
        """A call of the student's code, with all that may cross; arguments that it changed are changed here, too."""
        callables: list[Callable] = []
        packed = pack((args, kwargs), lambda value: self._token(value, callables))
        body = (*target, *packed) if kind == "function" else (*target, packed[0])
        try:
            value, changed = self._exchange(kind, body, callables)
        except Exception as error:
            _write_back(getattr(error, "_kata_changed", []), packed, (args, kwargs))
            raise
        _write_back(changed, packed, (args, kwargs))
        return unpack(value, lambda v: RemoteHandle(door, self, v) if isinstance(v, Token) else v)

    def hosted(self, model: nn.Module) -> Token:
        return self.ask("hosted", self._key(model))

    def view(self, model: nn.Module) -> nn.Module:
        """The worker's copy of a module of the suite, as the worker says that it is now."""
        parts, state, trained = self.ask("view", self._sent[id(model)][0])
        return _rebuilt(model, parts, unpack(state), trained)

    def timed(self, call: Callable[[], Any]) -> tuple[float, Any]:
        before = self._cell.cpu_seconds() if self._cell else 0.0
        result = call()
        self._wall += self.seconds
        self._processor += self._cell.cpu_seconds() - before
        allowed = SPARE_THREADS * self._home.threads * self._wall
        if self._wall > 0.5 and self._processor > allowed + 0.1:
            took = f"{self._processor:.1f} s of processor time in {self._wall:.1f} s"
            raise AssertionError(f"what is timed took {took}, more than {self._home.threads} threads can")
        return self.seconds, result

    def set_threads(self, count: int) -> None:
        if self._cell:
            self.ask("threads", count)

    def start(self) -> None:
        """Lets the worker begin with its imports."""
        self._living()

    def begin(self, dice: int) -> None:
        """Of a test: a worker that was lost before is replaced, if it still may be, and chance begins with `dice`."""
        if self._cell or self.life <= REPLACEMENTS:
            self.ask("begin", dice)

    def forget(self) -> None:
        self._sent.clear()
        if self._cell:
            self.ask("forget")

    def release(self, key: int, life: int) -> None:
        """An object over there that nobody here has a handle on any more; said with the next question."""
        if life == self.life:
            self._released.append(key)

    def pause(self) -> None:
        if self._cell:
            self._cell.pause()

    def resume(self) -> None:
        if self._cell:
            self._cell.resume()

    def close(self) -> None:
        if self._cell:
            self._cell.end()
            self._cell = None

    # ---- one question ------------------------------------------------------------------------------------------------

    def _exchange(self, kind: str, body: tuple, callables: Sequence[Callable]) -> Any:
        cell = self._living()
        if self._released:
            released, self._released = self._released, []
            self._one(cell, "release", (released,), [])
        return self._one(cell, kind, body, callables)

    def _one(self, cell: Cell, kind: str, body: tuple, callables: Sequence[Callable]) -> Any:
        try:
            data = cell.channel.prepare(kind, body)
            self.seconds, frame = cell.exchange(data, self._home.until, partial(self._answer, callables))
        except Lost as lost:
            raise self._explained(lost) from None
        finally:
            self._show_prints()
        match frame:
            case Frame("value", value):
                return value
            case Frame("problem", (str(kind), str(message), str() | None as file, int() | None as line)):
                raise loader.Problem(kind, message, Path(file) if file else None, line)
            case Frame("raised", dict(report)):
                raise self._raised(report)
        raise self._explained(Lost("the answer was none"))

    def _living(self) -> Cell:
        if self._cell is None:
            if self.life > REPLACEMENTS:
                raise boundary.Lost(replace(self._loss, message=NOT_RUN, hint="", place=None), kind="not run")
            self.life += 1
            self._sent.clear()
            self._cell = self._home.cell(self._submission)
        return self._cell

    def _answer(self, callables: Sequence[Callable], body: Any) -> tuple[str, Any]:
        """What a callable of the suite says to a student's code that calls it."""
        key, args = body
        try:
            return "value", pack(callables[key](*unpack(args)), refuse)
        except Exception as error:
            self._from_the_suite = error
            return "raised", f"{type(error).__name__}: {error}"[:500]

    def _raised(self, report: dict[str, Any]) -> BaseException:
        """An exception that says what the worker's did."""
        if report["from the suite"] and self._from_the_suite:
            return self._from_the_suite
        name, message = str(report["name"]), str(report["message"])
        if "SystemExit" in report["kinds"]:
            error: BaseException = SystemExit(report["code"])
        else:
            known = [getattr(builtins, kind) for kind in report["kinds"] if getattr(builtins, kind, None) in RAISED]
            error = type(name, (known[0] if known else Exception,), {"__str__": lambda self: message})()
        for note in report["notes"]:
            error.add_note(str(note))
        error._kata_changed = report["changed"]
        error._kata_frames = [
            traceback.FrameSummary(str(file), line, str(function), lookup_line=False, line=str(text))
            for file, line, function, text in report["frames"]
        ]
        return error

    def _explained(self, lost: Lost) -> "boundary.Lost":
        """The worker's end in words for the test that it came in; the worker is no more."""
        cell, self._cell = self._cell, None
        ended = cell.end(patience=0.0 if lost.overdue or str(lost) else DYING_SECONDS)
        folder = str(self._submission or self._home.scratch)
        if lost.overdue:
            loss = losses.overdue(lost.stack, folder, self._home.seconds)
        elif str(lost):
            loss = losses.Loss("crashed", str(lost))
        elif ended["status"] is None and ended["reason"] not in ("", "asked to", "ended"):
            loss = losses.Loss("crashed", f"it took {ended['reason']}, and was ended")
        else:
            loss = losses.crashed(ended["status"] or 0, ended["stack"], folder)
        self._loss = loss
        return boundary.Lost(loss)

    def _show_prints(self) -> None:
        if self._cell:
            out, err = self._cell.prints()
            sys.stdout.write(out)
            sys.stderr.write(err)

    # ---- what goes in ------------------------------------------------------------------------------------------------

    def _token(self, value: Any, callables: list[Callable]) -> Token:
        if isinstance(value, RemoteHandle):
            return Token("handle", (value.key,))
        if isinstance(value, nn.Module):
            return Token("module", (self._key(value),))
        if callable(value):
            callables.append(value)
            return Token("callable", (len(callables) - 1,))
        return refuse(value)

    def _key(self, model: nn.Module) -> int:
        """Of the worker's copy of a module, which is sent when it is needed first."""
        self._living()
        if id(model) not in self._sent:
            key = self._home.new_key()
            self.ask("module", key, module_bytes(model))
            self._sent[id(model)] = key, model  # kept alive: an id is not to be used again
        return self._sent[id(model)][0]


def _write_back(changed: Any, packed: Any, ours: Any) -> None:
    """Tensor arguments that the student changed are what the student made of them."""
    if changed:
        tensors = [tensor for _, tensor in tensors_within(packed, ours)]
        for place, new in changed:
            write_back(new, tensors[place])


class _Other(nn.Module):
    """A part that is no longer of the kind that it was."""


def _rebuilt(model: nn.Module, parts: dict, state: dict, trained: dict) -> nn.Module:
    """A copy of model in the state that is reported; what is not of its kind any more becomes an _Other."""
    copy = copy_module(model)
    for name, (kind, training) in parts.items():  # parents before their children
        there = _part(copy, name)
        if there is None or type(there).__qualname__ != kind:
            there = _Other()
            copy = _put(copy, name, there)
        there.training = training
    for name in [name for name, _ in copy.named_modules(remove_duplicate=False) if name not in parts]:
        parent, _, last = name.rpartition(".")
        if owner := _part(copy, parent):
            owner._modules.pop(last, None)
    for name, tensor in state.items():
        parent, _, last = name.rpartition(".")
        owner = _part(copy, parent)
        if last in owner._parameters:
            wants, has = trained.get(name, (False, False))
            owner._parameters[last] = nn.Parameter(tensor, requires_grad=wants and tensor.is_floating_point())
            owner._parameters[last].grad = torch.zeros_like(tensor) if has else None
        else:
            owner._buffers[last] = tensor
    return copy


def _part(module: nn.Module, name: str) -> nn.Module | None:
    return dict(module.named_modules(remove_duplicate=False)).get(name)


def _put(module: nn.Module, name: str, part: nn.Module) -> nn.Module:
    """module with part in the place of this name."""
    parent, _, last = name.rpartition(".")
    if not name:
        return part
    _part(module, parent)._modules[last] = part
    return module
