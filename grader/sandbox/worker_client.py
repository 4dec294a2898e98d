"""The workers of one suite: each is asked one thing at a time, replaced when it is lost, and its end explained.

The second layer of a sandboxed call, on the trusted side. Below it are the protocol, and the process at its other end.
"""

import builtins
import contextlib
import itertools
import sys
import tempfile
import time
import traceback
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch
from torch import nn

from grader.results.failure import Failure
from grader.results.model import failure_of
from grader.results.process_failure import ProcessFailure, crashed, overdue
from grader.results.safe_files import discard
from grader.sandbox.policy import Walls
from grader.sandbox.protocol import Closed, Frame, Odd, Overdue, Token
from grader.sandbox.rebuilt_module import rebuilt
from grader.sandbox.worker_process import START_SECONDS, WorkerLost, WorkerProcess
from grader.suite.load_exercise import LoadError
from grader.suite.marshal import Packed, module_bytes, pack, refuse, tensors_within, unpack
from grader.suite.verdict import ProcessLost, WrongAnswer

REPLACEMENTS = 1  # workers that an exercise gets after its first
DYING_SECONDS = 5  # for a worker whose end of the line is closed
EVER = 86_400.0  # seconds
BUSY = 4  # times as long may pass by the clock as a test has of processor time
NOT_RUN = "not run: an earlier test did not finish"
ODD = "the process with this code sent an answer that cannot be read"
SLACK = 0.15  # seconds of processor time that clocks may be wrong by
STIRRED = 0.03  # seconds that a worker may seem to take while it is stopped, in one pause and in all: three clock ticks
SPARE_THREADS = 1.3  # times the processor time that the allowed threads could have taken
RAISED = {  # that can be told by their kind; everything else becomes an Exception of the same name
    *(ArithmeticError, AssertionError, AttributeError, EOFError, FloatingPointError, ImportError, IndexError, KeyError),
    *(LookupError, MemoryError, NameError, NotImplementedError, OSError, OverflowError, RecursionError, RuntimeError),
    *(StopIteration, TypeError, ValueError, ZeroDivisionError, FileNotFoundError, PermissionError),
    *(ModuleNotFoundError, UnboundLocalError, TimeoutError),
}


class Workers:
    """The workers of one suite: the student's, and one for what the suite brings to compare with."""

    def __init__(self, submission: Path, walls: Walls, scratch: Path, seed: int):
        self.walls, self.seed, self.threads = walls, seed, torch.get_num_threads()
        self._submission, self.scratch = submission, scratch
        self._own = Path(tempfile.mkdtemp(prefix="kata-"))  # where the student's workers begin
        self._apart = Path(tempfile.mkdtemp(prefix="kata-"))  # and the suite's
        self._keys = itertools.count(1)
        self.student = WorkerClient(self, submission)
        self._host: WorkerClient | None = None
        self.until, self.seconds = time.monotonic() + EVER, EVER  # by the clock, and of processor time

    @property
    def host(self) -> "WorkerClient":
        if self._host is None:
            self._host = WorkerClient(self, None)
        return self._host

    def process(self, submission: Path | None) -> WorkerProcess:
        if submission:
            return WorkerProcess(self.walls, submission, self._own, self.scratch, self.threads, self.seed)
        return WorkerProcess(self.walls.for_the_suite(), None, self._apart, self._apart, self.threads, self.seed)

    def new_key(self) -> int:
        return next(self._keys)

    def clients(self) -> list["WorkerClient"]:
        return [client for client in (self.student, self._host) if client]

    @contextlib.contextmanager
    def another(self, scratch: Path) -> Iterator["WorkerClient"]:
        """A worker of the same submission, with this scratch folder and none of what the others have."""
        others = Workers(self._submission, self.walls, scratch, self.seed)
        others.threads, others.until, others.seconds = self.threads, self.until, self.seconds
        try:
            yield others.student
        finally:
            others.close()

    def set_threads(self, count: int) -> None:
        self.threads = count
        for client in self.clients():
            client.set_threads(count)

    def only(self, client: "WorkerClient") -> None:
        for other in self.clients():
            if other is not client:
                other.pause()

    def go_on(self) -> None:
        """raises: WrongAnswer for a worker that did not stand still"""
        moved = [words for client in self.clients() if (words := client.resume())]
        if moved:
            raise _untimely("other processes stopped meanwhile", moved[0])

    def begin_test(self, dice: int, seconds: float) -> None:
        self.until, self.seconds = time.monotonic() + START_SECONDS, START_SECONDS
        for client in self.clients():
            client.forget()
        self.student.begin(dice)
        for client in self.clients():
            client.start_the_clock()
        self.until, self.seconds = time.monotonic() + BUSY * seconds, seconds

    def forget_copies(self) -> None:
        for client in self.clients():
            client.forget()

    def close(self) -> None:
        for client in self.clients():
            client.close()
        for folder in (self._own, self._apart):
            discard(folder)


class WorkerClient:
    """A worker that is started when it is needed, and once more when it was lost.

    submission: None for the worker of what the suite brings
    """

    def __init__(self, workers: Workers, submission: Path | None):
        self._workers, self._submission = workers, submission
        self._process: WorkerProcess | None = None
        self.life = 0  # how many workers there were
        self.seconds = 0.0  # that the last answer took
        self._sent: dict[int, tuple[int, nn.Module]] = {}  # modules of the suite by id: their key there
        self._loss: ProcessFailure | None = None  # the last worker's
        self._began = 0.0  # processor time that it had taken when the test began
        self._released: list[int] = []
        self._from_the_suite: Exception | None = None
        self._wall = self._processor = 0.0  # seconds of what was timed
        self._stirred = 0.0  # seconds that it took while it was stopped
        self._at_rest: float | None = None  # processor time that was taken when it was stopped; None: it runs

    def ask(self, kind: str, *body: Any) -> Any:
        """raises: what the worker raised; ProcessLost"""
        return self._exchange(kind, body, [])

    def call(
        self,
        kind: str,
        target: tuple,
        args: tuple,
        kwargs: dict,
        receive: Callable[[Any], Any],
        changed: Callable[[torch.Tensor, torch.Tensor], None],
    ) -> Any:
        """A call of the student's code, with all that may cross.

        receive: what becomes of that which does not cross, a Token
        changed: told of each tensor among the arguments that the student changed, and what became of it there
        """
        callables: list[Callable] = []
        packed = pack((args, kwargs), lambda value: self._token(value, callables))
        body = (*target, *packed) if kind == "function" else (*target, packed[0])
        tensors = [tensor for _, tensor in tensors_within(packed, (args, kwargs))]
        try:
            answer = self._exchange(kind, body, callables)
        except Exception as error:
            self._tell_changes(getattr(error, "_kata_changed", []), tensors, changed)
            raise
        if not (isinstance(answer, tuple) and len(answer) == 2):
            raise self._explained(WorkerLost(ODD))
        value, changes = answer
        self._tell_changes(changes, tensors, changed)
        return unpack(value, lambda v: receive(v) if isinstance(v, Token) else v)

    def _tell_changes(self, changes: Any, tensors: list[torch.Tensor], changed: Callable) -> None:
        """raises: ProcessLost for changes of what is not there"""
        try:
            for place, now in changes:
                if not isinstance(now, Packed) or place < 0:
                    raise ValueError
                changed(tensors[place], unpack(now))
        except (TypeError, ValueError, IndexError):
            raise self._explained(WorkerLost(ODD)) from None

    def hosted(self, model: nn.Module) -> Token:
        return self.ask("hosted", self._key(model))

    def view(self, model: nn.Module) -> nn.Module:
        """The worker's copy of a module of the suite, as the worker says that it is now."""
        parts, state, trained = self.ask("view", self._sent[id(model)][0])
        return rebuilt(model, parts, unpack(state), trained)

    def timed(self, call: Callable[[], Any]) -> tuple[float, Any]:
        before = self._told(self._process.cpu_seconds) if self._process else 0.0
        result = call()
        self._wall += self.seconds
        took = self._told(self._process.cpu_seconds) - before
        if took < -STIRRED:
            raise _untimely("time that only grows", f"{-took:.1f} s of processor time less than before the call")
        self._processor += took
        allowed = SPARE_THREADS * self._workers.threads * self._wall
        if self._processor > allowed + SLACK:
            took = f"{self._processor:.1f} s of processor time in {self._wall:.1f} s"
            raise _untimely(f"what {self._workers.threads} threads can take", took)
        return self.seconds, result

    def set_threads(self, count: int) -> None:
        if self._process:
            self.ask("threads", count)

    def start(self) -> None:
        """Lets the worker begin with its imports."""
        self._living()

    def begin(self, dice: int) -> None:
        """Of a test: a worker that was lost before is replaced, if it still may be, and chance begins with `dice`."""
        if self._process or self.life <= REPLACEMENTS:
            self.ask("begin", dice)

    def forget(self) -> None:
        self._sent.clear()
        if self._process:
            self.ask("forget")

    def release(self, key: int, life: int) -> None:
        """An object over there that nobody here has a handle on any more; said with the next question."""
        if life == self.life:
            self._released.append(key)

    def pause(self) -> None:
        if self._process:
            self._at_rest = self._told(self._process.pause)

    def resume(self) -> str:
        """What there is to say about one that did not stand still; nothing about others."""
        if not self._process or self._at_rest is None:
            return ""
        took, self._at_rest = self._told(self._process.cpu_seconds) - self._at_rest, None
        self._process.resume()
        self._stirred += abs(took)  # none can be given back, either
        allowed = SLACK if self._workers.walls and self._workers.walls.portable else STIRRED
        return f"while others were timed, it took {self._stirred:.2g} s of processor time" * (self._stirred > allowed)

    def start_the_clock(self) -> None:
        """A test begins: its processor time counts from here."""
        self._began = self._told(self._process.cpu_seconds) if self._process else 0.0

    def _told(self, ask: Callable[[], float]) -> float:
        """What the supervisor says. raises: ProcessLost"""
        try:
            return ask()
        except WorkerLost as lost:
            raise self._explained(lost) from None

    def close(self) -> None:
        if self._process:
            self._process.end()
            self._process = None

    # ---- one question ------------------------------------------------------------------------------------------------

    def _exchange(self, kind: str, body: tuple, callables: Sequence[Callable]) -> Any:
        process, self._from_the_suite = self._living(), None
        if self._released:
            released, self._released = self._released, []
            self._one(process, "release", (released,), [])
        return self._one(process, kind, body, callables)

    def _one(self, process: WorkerProcess, kind: str, body: tuple, callables: Sequence[Callable]) -> Any:
        try:
            frame = self._question(process, kind, body, callables)
        except WorkerLost as lost:
            raise self._explained(lost) from None
        finally:
            self._show_prints()
        match frame:
            case Frame("value", value):
                return value
            case Frame("problem", ("not started" | "import" as kind, dict(report), file, line)) if _is_place(
                file, line
            ):
                with contextlib.suppress(LookupError, TypeError, ValueError):
                    raise LoadError(kind, failure_of(report), Path(file) if file else None, line)
            case Frame("raised", dict(report)):
                try:
                    error = self._raised(report)
                except (LookupError, TypeError, ValueError):  # a report of another make
                    raise self._explained(WorkerLost(ODD)) from None
                raise error
        raise self._explained(WorkerLost(ODD))

    def _question(self, process: WorkerProcess, kind: str, body: tuple, callables: Sequence[Callable]) -> Frame:
        """Asks, and answers what the worker asks of the suite's callables meanwhile; notes how long it took.

        raises: WorkerLost; protocol.Refused for a question that is too large to cross
        """
        channel, until = process.channel, self._workers.until
        data = channel.prepare(kind, body)

        def late() -> bool:
            return process.cpu_seconds() - self._began >= self._workers.seconds

        try:
            process.wait_until_ready()
            began = time.perf_counter()
            channel.post(data, until)
            while True:
                frame = channel.receive(until, late)
                self.seconds = time.perf_counter() - began
                if frame.kind != "callback":
                    return frame
                channel.send(*self._answer(callables, frame.body), until)
        except Odd as error:
            raise WorkerLost(f"{ODD}: {error}") from None
        except Overdue:
            raise WorkerLost("no answer in time", overdue=True, stack=process.stack()) from None
        except Closed:
            raise WorkerLost("") from None

    def _living(self) -> WorkerProcess:
        if self._process is None:
            if self.life > REPLACEMENTS:
                ended = replace(self._loss, summary=NOT_RUN, think="", frames=())
                raise ProcessLost(ended, kind="not run")
            self.life += 1
            self._sent.clear()
            self._began = 0.0
            self._process = self._workers.process(self._submission)
        return self._process

    def _answer(self, callables: Sequence[Callable], body: Any) -> tuple[str, Any]:
        """What a callable of the suite says to a student's code that calls it."""
        if not (isinstance(body, tuple) and len(body) == 2 and type(body[0]) is int and isinstance(body[1], tuple)):
            raise Odd("a question to the suite of another make")
        key, args = body
        if not 0 <= key < len(callables):
            raise Odd("a question to nobody")
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
            error = _made_of(known, name, message)
        for note in report["notes"]:
            error.add_note(str(note))
        error._kata_changed = report["changed"]
        error._kata_frames = [
            traceback.FrameSummary(str(file), line, str(function), lookup_line=False, line=str(text))
            for file, line, function, text in report["frames"]
        ]
        return error

    def _explained(self, lost: WorkerLost) -> ProcessLost:
        """The worker's end in words for the test that it came in; the worker is no more."""
        process, self._process = self._process, None
        waited = lost.overdue and time.monotonic() >= self._workers.until
        ended = process.end(patience=0.0 if lost.overdue or str(lost) else DYING_SECONDS)
        folder = str(self._submission or self._workers.scratch)
        if lost.overdue:
            seconds = self._workers.seconds * (BUSY if waited else 1)
            loss = overdue(lost.stack, folder, seconds, waited=waited)
        elif str(lost):
            loss = ProcessFailure("crashed", str(lost))
        elif ended["status"] is None and ended["reason"] not in ("", "asked to", "ended"):
            loss = ProcessFailure("crashed", f"it took {ended['reason']}, and was ended")
        else:
            loss = crashed(ended["status"] or 0, ended["stack"], folder)
        self._loss = loss
        return ProcessLost(loss)

    def _show_prints(self) -> None:
        if self._process:
            out, err = self._process.prints()
            sys.stdout.write(out)
            sys.stderr.write(err)

    # ---- what goes in ------------------------------------------------------------------------------------------------

    def _token(self, value: Any, callables: list[Callable]) -> Token:
        if hasattr(value, "is_module"):
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
            key = self._workers.new_key()
            self.ask("module", key, module_bytes(model))
            self._sent[id(model)] = key, model  # kept alive: an id is not to be used again
        return self._sent[id(model)][0]


def _untimely(expected: str, got: str) -> WrongAnswer:
    return WrongAnswer(Failure(called="what is timed", got=got, expected=expected))


def _made_of(known: list[type], name: str, message: str) -> Exception:
    """An exception that is all that the worker's was, as far as builtin kinds go: some are of two at once."""
    body = {"__str__": lambda self: message}
    bases = [k for k in dict.fromkeys(known) if not any(other is not k and issubclass(other, k) for other in known)]
    try:
        return type(name, tuple(bases) or (Exception,), body)()
    except TypeError:  # kinds that cannot be one
        return type(name, (known[0],), body)()


def _is_place(file: Any, line: Any) -> bool:
    return isinstance(file, str | None) and isinstance(line, int | None)
