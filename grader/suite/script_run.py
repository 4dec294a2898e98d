"""While a student's script runs: what it prints, and which GPTs read which texts."""

import contextlib
import fcntl
import hashlib
import io
import os
import resource
import tempfile
from collections.abc import Callable, Iterator
from typing import IO, Any
from unittest import mock

import torch
from torch import Tensor, nn

from grader.suite.load_exercise import own_logging
from grader.suite.student import Ran
from llm.model import GPT, GPTConfig

TEXT_LIMIT = 200_000  # characters kept of what a script prints


class Printed:
    """A stream for sys.stdout or sys.stderr with all that a real one has: a buffer, an encoding, a file descriptor.

    closed: whatever is written fails, as after `> /dev/full`
    """

    def __init__(self, closed: bool = False):
        self._file = _appended()
        place = os.open(os.devnull, os.O_RDONLY) if closed else os.dup(self._file.fileno())
        end = open(place, "wb")  # noqa: SIM115 (a script may keep it: nobody closes it for it)
        self.stream = io.TextIOWrapper(end, "utf-8", "backslashreplace", write_through=True)

    def flush(self) -> str:
        """What the interpreter says and does at its end: why the last words could not be written, or nothing."""
        try:
            self.stream.flush()
        except ValueError:  # a script may have closed it
            return ""
        except OSError as error:
            return f"Exception ignored while flushing sys.stdout: {error}\n"
        return ""

    def end(self) -> str:
        """The last of what was printed."""
        with contextlib.suppress(ValueError, OSError):  # a script may have closed it
            self.stream.flush()
        size = os.fstat(self._file.fileno()).st_size
        text = os.pread(self._file.fileno(), TEXT_LIMIT, max(0, size - TEXT_LIMIT)).decode(errors="replace")
        self._file.close()
        return text


def run_script(
    main: Callable,
    argv: list[str],
    shape: GPTConfig | None = None,
    largest_file: int | None = None,
    prints: bool = True,
) -> Ran:
    """What main(argv) did, as the interpreter would run it.

    shape, largest_file, prints: as in grader.suite.student.Student.run
    raises: what main raises, but for SystemExit
    """
    out, err = Printed(closed=not prints), Printed()
    streams = contextlib.redirect_stdout(out.stream), contextlib.redirect_stderr(err.stream)
    try:
        with streams[0], streams[1], own_logging(), watched(shape) as readers, files_up_to(largest_file):
            try:
                code = main([str(argument) for argument in argv])
            except SystemExit as stop:
                code = stop.code
    finally:
        unwritten = out.flush()
        stdout, stderr = out.end(), err.end()
    if not isinstance(code, int | None):  # as the interpreter does it: anything else is printed, and means 1
        code, stderr = 1, f"{stderr}{code}\n"[-TEXT_LIMIT:]
    if unwritten and not code:  # the interpreter's code for output that was lost
        code, stderr = 120, f"{stderr}{unwritten}"[-TEXT_LIMIT:]
    return Ran(int(code or 0), stdout, stderr, *readers.counts())


class Readers:
    """Notes which texts were read, and by which models: by their identity and the kinds of their parts, since a model
    may be quantized in place. A child that was forked notes in the same file.

    shape: only GPTs of this configuration count; None: all
    """

    def __init__(self, shape: GPTConfig | None):
        self._shape = shape
        self._notes = _appended()
        self._models: dict[int, nn.Module] = {}  # kept alive: an id is not to be used again

    def note(self, model: nn.Module, ids: Any) -> None:
        """raises: nothing, whatever it is that a model is given: a script does not know that it is watched"""
        with contextlib.suppress(Exception):
            if self._shape not in (None, getattr(model, "config", None)):
                return
            self._models[id(model)] = model
            kinds = sorted({f"{type(part).__module__}.{type(part).__qualname__}" for part in model.modules()})
            reader = hashlib.blake2b(repr((id(model), kinds)).encode(), digest_size=8).hexdigest()
            lines = ""
            for text in _values(ids).reshape(-1, ids.shape[-1]):
                digest = hashlib.blake2b(text.numpy().tobytes(), digest_size=16).hexdigest()
                lines += f"{len(text)} {digest} {reader}\n"
            self._notes.write(lines.encode())

    def counts(self) -> tuple[int, int]:
        """Tokens that two models or more have read, and that any has; each text counted once."""
        self._notes.seek(0)
        readers: dict[tuple[int, bytes], set[bytes]] = {}
        for line in self._notes:
            length, text, reader = line.split()
            readers.setdefault((int(length), text), set()).add(reader)
        self._notes.close()
        both = sum(length for (length, _), models in readers.items() if len(models) > 1)
        return both, sum(length for length, _ in readers)


@contextlib.contextmanager
def files_up_to(size: int | None) -> Iterator[None]:
    """While this lasts, no file can grow beyond so many bytes, whoever writes it here or in a process started here.

    To the writer this is a full disk: a write stops midway and fails, in Python (which ignores the signal SIGXFSZ) with
    an OSError, in torch.save with a RuntimeError. None: no limit but the one that is there.
    """
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    if size is not None:
        resource.setrlimit(resource.RLIMIT_FSIZE, (size, before[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)


@contextlib.contextmanager
def watched(shape: GPTConfig | None) -> Iterator[Readers]:
    """While this lasts, every reading of a GPT is noted."""
    readers, forward, call = Readers(shape), GPT.forward, GPT.__call__

    def seen(model: GPT, ids: Any) -> None:
        if not torch.compiler.is_compiling():  # there is nothing to read then, and no file to write in
            readers.note(model, ids)

    def watched_forward(self: GPT, ids: Tensor, *args, **kwargs) -> Tensor:
        seen(self, ids)
        return forward(self, ids, *args, **kwargs)

    def watched_call(self: GPT, *args, **kwargs) -> Any:  # of a subclass as well that has a forward of its own
        seen(self, args[0] if args else kwargs.get("ids"))
        return call(self, *args, **kwargs)

    with mock.patch.object(GPT, "forward", watched_forward), mock.patch.object(GPT, "__call__", watched_call):
        yield readers


def _values(ids: Tensor) -> Tensor:
    """ids without the wrapping of torch.vmap."""
    functorch = torch._C._functorch
    while functorch.is_batchedtensor(ids):
        ids = functorch.get_unwrapped(ids)
    return ids


def _appended() -> IO[bytes]:
    """A file without a name, at whose end whoever writes into it does so: other processes may."""
    file = tempfile.TemporaryFile(buffering=0)  # noqa: SIM115 (whoever asked for it closes it)
    fcntl.fcntl(file, fcntl.F_SETFL, fcntl.fcntl(file, fcntl.F_GETFL) | os.O_APPEND)
    return file
