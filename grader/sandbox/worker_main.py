"""Inside: imports one submission, does what the trusted side asks, and answers with values.

Everything here is at the student's mercy, who may patch any of it. So nothing here decides anything: the trusted side
believes the values for what they are, and no more.
"""

import contextlib
import faulthandler
import json
import os
import signal
import socket
import sys
from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from grader.sandbox.protocol import Channel, Closed, Frame, Refused, Token
from grader.suite import load_exercise
from grader.suite.calls_in_turn import results_in_turn
from grader.suite.load_exercise import LoadError, not_started
from grader.suite.marshal import Packed, change, module_of, pack, refuse, tensors_within, unpack
from grader.suite.pytorch_quantization import choose_engine, without_deprecation_warnings
from grader.suite.reachable_tensors import held_tensors
from grader.suite.script_run import run_script
from grader.suite.student import settings
from llm.model import GPTConfig

NOTES = 3  # of an exception that travel
LONGEST = 2_000  # characters of an exception's message
DENIED = ("Permission denied", "Operation not permitted", "Invalid cross-device link")
WALLS = (
    "Graded code runs in a sandbox: write into the working folder, or where tempfile puts files; do without sockets, "
    "shared memory and multiprocessing's locks."
)


class _FromTheSuite(Exception):
    """What a callable of the suite raised, on its way through the student's code."""


class Worker:
    """Answers one frame after the other until the other end closes."""

    def __init__(self, channel: Channel, submission: Path):
        self.channel, self.submission = channel, submission
        self.objects: dict[int, Any] = {}  # what the trusted side has handles on
        self.modules: dict[int, nn.Module] = {}  # the student's copies of the suite's modules
        self.made = 0
        choose_engine()

    def serve(self) -> None:
        while True:
            try:
                frame = self.channel.receive()
            except Closed:
                return
            self._answer(*self._do(frame))

    def _do(self, frame: Frame) -> tuple[str, Any]:
        kind, (function, *arguments) = "value", (getattr(self, f"on_{frame.kind}"), *frame.body)
        try:
            return kind, function(*arguments)
        except LoadError as problem:
            where = str(problem.file) if problem.file else None
            return "problem", (problem.kind, asdict(problem.failure), where, problem.line)
        except BaseException as error:  # whatever a student raises is an answer
            return "raised", self._described(error)

    def _answer(self, kind: str, body: Any) -> None:
        for stream in (sys.stdout, sys.stderr):  # what a student prints to find a mistake belongs to this call
            with contextlib.suppress(Exception):
                stream.flush()
        try:
            self.channel.send(kind, body)
        except Refused as error:
            self.channel.send("raised", self._described(error))

    # ---- what is asked -----------------------------------------------------------------------------------------------

    def on_function(self, exercise: str, name: str, args: Any, kwargs: Any) -> Any:
        """exercises.<exercise>.<name>(*args, **kwargs), and which of the tensors handed over are different now."""
        return self._called(self._function(exercise, name), args, kwargs)

    def _function(self, exercise: str, name: str) -> Callable:
        function = getattr(load_exercise.load(self.submission, exercise), name, None)
        if not callable(function):
            raise not_started(f"{exercise}.py has no function `{name}`")
        return function

    def on_method(self, key: int, name: str, args: Any) -> Any:
        target = getattr(self.objects[key], name) if name else self.objects[key]
        with torch.no_grad():
            return self._called(target, args, {})

    def on_functions(self, exercise: str, name: str, same: bool, calls: Any) -> Any:
        """A function several times, as grader.suite.student.Student.in_turn says."""
        return self._called_in_turn([self._function(exercise, name)] * len(calls), calls, same)

    def on_methods(self, key: int, names: list[str], same: bool, calls: Any) -> Any:
        with torch.no_grad():
            target = self.objects[key]
            return self._called_in_turn([getattr(target, name) if name else target for name in names], calls, same)

    def _called_in_turn(self, functions: list[Callable], calls: Any, same: bool) -> Any:
        def run(*theirs: tuple) -> list[Any]:
            # packed at once, and no second time: what is packed already is bytes
            return results_in_turn(functions, theirs, same, lambda result: pack(result, self._receive))

        return self._called(run, calls, {}, packed=True)

    def on_module(self, key: int, data: bytes) -> None:
        """A module of the suite: trusted, and a pickle."""
        self.modules[key] = module_of(data)

    def on_hosted(self, key: int) -> Any:
        return self._receive(self.modules[key])

    def on_training(self, key: int) -> bool:
        return bool(self.objects[key].training)

    def on_modes(self, key: int) -> dict[str, bool]:
        return {name: bool(module.training) for name, module in self.objects[key].named_modules()}

    def on_state_dict(self, key: int) -> Any:
        return pack(dict(self.objects[key].state_dict()), self._receive)

    def on_held_tensors(self, key: int) -> list:
        held = held_tensors(self.objects[key])
        return [(h.where, h.dtype, h.shape, h.storage, h.nbytes, h.history) for h in held]

    def on_view(self, key: int) -> tuple:
        """What became of a module of the suite: its parts and their modes, its tensors, what is trained."""
        module = self.modules[key]
        parts = {
            name: (type(m).__qualname__, bool(m.training)) for name, m in module.named_modules(remove_duplicate=False)
        }
        state = {name: t for name, t in module.state_dict(keep_vars=True).items() if isinstance(t, Tensor)}
        trained = {
            name: (p.requires_grad, p.grad is not None) for name, p in module.named_parameters(remove_duplicate=False)
        }
        return parts, pack(state, refuse), trained

    def on_settings(self) -> dict[str, Any]:
        return settings()

    def on_threads(self, count: int) -> None:
        torch.set_num_threads(count)

    def on_engine(self, name: str) -> None:
        torch.backends.quantized.engine = name

    def on_run(
        self, exercise: str, argv: list[str], shape: GPTConfig | None, largest_file: int | None, prints: bool
    ) -> tuple:
        ran = run_script(self._function(exercise, "main"), argv, shape, largest_file, prints)
        faulthandler.enable()  # again for this process, should the script have had it for its own stream
        return ran.code, ran.stdout, ran.stderr, ran.tokens, ran.seen

    def on_begin(self, seed: int) -> None:
        self.modules.clear()
        torch.manual_seed(seed)

    def on_forget(self) -> None:
        self.modules.clear()

    def on_release(self, keys: list[int]) -> None:
        for key in keys:
            self.objects.pop(key, None)

    # ---- values in and out -------------------------------------------------------------------------------------------

    def _called(self, function: Callable, args: Any, kwargs: Any, packed: bool = False) -> tuple:
        """packed: whether the function's result is packed already"""
        theirs, their_kwargs = unpack((args, kwargs), self._resolve)
        with without_deprecation_warnings():
            try:
                result = function(*theirs, **their_kwargs)
            except BaseException as error:
                error._kata_changed = self._changed((args, kwargs), (theirs, their_kwargs))
                raise
        result = result if packed else pack(result, self._receive)
        return result, self._changed((args, kwargs), (theirs, their_kwargs))

    def _changed(self, before: Any, now: Any) -> list[tuple[int, Packed]]:
        """The tensors among arguments that are not what they were, each with its place among them."""
        changes = [change(packed, tensor) for packed, tensor in tensors_within(before, now)]
        return [(place, new) for place, new in enumerate(changes) if new]

    def _receive(self, value: Any) -> Token:
        self.made += 1
        self.objects[self.made] = value
        return Token("handle", (self.made, type(value).__name__[:100], isinstance(value, nn.Module)))

    def _resolve(self, value: Any) -> Any:
        if not isinstance(value, Token):
            return value
        if value.kind == "handle":
            return self.objects[value.fields[0]]
        if value.kind == "module":
            return self.modules[value.fields[0]]
        return lambda *args: self._call_back(value.fields[0], args)

    def _call_back(self, key: int, args: tuple) -> Any:
        self.channel.send("callback", (key, pack(args, refuse)))
        frame = self.channel.receive()
        if frame.kind == "raised":
            raise _FromTheSuite(frame.body)
        return unpack(frame.body)

    def _described(self, error: BaseException) -> dict[str, Any]:
        """An exception as text: its builtin ancestors, its message, the student's frames."""
        frames = [(f.filename, f.lineno, f.name, f.line or "") for f in load_exercise.frames(error, self.submission)]
        kinds = [kind.__name__ for kind in type(error).__mro__ if kind.__module__ == "builtins"]
        return {
            "name": type(error).__name__[:100],
            "kinds": kinds,
            "message": _text(error),
            "code": error.code if isinstance(error, SystemExit) and isinstance(error.code, int | None) else 1,
            "notes": [*_walls(error), *(str(note)[:LONGEST] for note in getattr(error, "__notes__", [])[:NOTES])],
            "frames": frames[-50:],
            "changed": getattr(error, "_kata_changed", []),
            "from the suite": isinstance(error, _FromTheSuite),
        }


def _walls(error: BaseException) -> list[str]:
    """Why something may not be had that can be had elsewhere."""
    denied = isinstance(error, PermissionError) or any(words in _text(error) for words in DENIED)
    return [WALLS] if denied else []


def _text(error: BaseException) -> str:
    try:
        return str(error)[:LONGEST]
    except Exception:
        return "(it cannot be shown)"


def main() -> None:
    spec = json.loads(sys.argv[1])
    faulthandler.enable()
    faulthandler.register(signal.SIGUSR1)  # "where are you?"
    channel = Channel(socket.socket(fileno=spec["channel"]), spec["buffer"])
    os.close(spec["buffer"])
    torch.set_num_threads(spec["threads"])
    import tests.specimens  # noqa: F401

    channel.send("ready", None)
    Worker(channel, Path(spec["submission"])).serve()


if __name__ == "__main__":
    main()
