"""A worker's process and its supervisor, as the trusted side holds them: starting, stopping, ending, its prints."""

import contextlib
import hashlib
import json
import os
import select
import signal
import socket
import subprocess
import sys
import sysconfig
import threading
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from grader.results.clean_environment import clean_environment
from grader.results.paths import ROOT
from grader.sandbox.policy import Walls
from grader.sandbox.protocol import Channel, shared_buffer

SUPERVISOR = str(Path(__file__).with_name("supervisor.py"))
START_SECONDS = 120  # for a worker's imports
END_SECONDS = 20  # for a supervisor to sweep up
PROCESSES, THREADS = 16, 256
LIMITS = {
    "RLIMIT_AS": 16 << 30,  # of addresses, of which PyTorch reserves many
    "RLIMIT_CPU": 1800,
    "RLIMIT_FSIZE": 512 << 20,
    "RLIMIT_NOFILE": 1024,
    "RLIMIT_CORE": 0,
}
PRINTS = 64 << 10  # bytes kept of what a worker prints
READS = 16  # of a pipe in one go, each of all that it can hold
SYSTEM = ("/usr", "/lib", "/lib64", "/bin", "/proc", "/sys/devices/system", "/dev/null", "/dev/zero", "/dev/urandom")
SETTINGS = (
    *("ld.so.*", "alternatives", "localtime", "mime.types", "nsswitch.conf", "os-release", "passwd", "group"),
    "python3*",
)
INSIDE = ("grader", "llm", "tests/__init__.py", "tests/specimens.py")  # of this project: neither solutions nor suites
BEGIN = "import sys; sys.path.insert(0, sys.argv.pop(1)); from grader.sandbox.worker_main import main; main()"


class WorkerLost(Exception):
    """The worker is gone, or is not to be believed any more.

    overdue: it did not answer in time; stack: where it was then, as faulthandler writes it
    """

    def __init__(self, why: str, overdue: bool = False, stack: str = ""):
        super().__init__(why)
        self.overdue, self.stack = overdue, stack


class WorkerProcess:
    """A worker that runs one submission, in the sandbox.

    submission: the staged folder, or None for a worker that only runs what the suite sends it
    own:        the folder where it begins, its home
    scratch:    the folder that it shares with the suite. Into these two it may write, and nowhere else
    """

    def __init__(self, walls: Walls, submission: Path | None, own: Path, scratch: Path, threads: int, seed: int):
        ours, theirs = socket.socketpair()
        self._control, supervisors = socket.socketpair()
        buffer, self._out, self._err = shared_buffer(sealed=not walls.portable), _Prints(), _Prints()
        folder = str(submission or scratch)
        if walls.uid is not None:
            for place in (own, scratch):
                os.chown(place, walls.uid, walls.uid)
        _furnish(own, submission)
        inside = {"channel": theirs.fileno(), "buffer": buffer, "submission": folder, "threads": threads}
        keep = [theirs.fileno(), buffer]
        self._supervisor = start_supervisor(
            walls,
            supervisors,
            keep,
            (self._out.end, self._err.end),
            [own, scratch],
            readable=[*_texts(), *(str(ROOT / name) for name in INSIDE), folder],
            listable=[str(ROOT)],  # names only; imports look there
            command=[sys.executable, "-I", "-B", "-c", BEGIN, str(ROOT), json.dumps(inside)],
            environment=_environment(own, seed),
        )
        for end in (supervisors, theirs):
            end.close()
        self._out.listen()
        self._err.listen()
        self._control.settimeout(END_SECONDS)  # a supervisor answers at once, or is to be believed dead
        self._told, self._last_words = self._control.makefile("rb"), {}
        self.channel, self.scratch, self.ready = Channel(ours, buffer), scratch, False
        os.close(buffer)
        self.worker = json.loads(self._told.readline() or b'{"worker": 0}')["worker"]

    def wait_until_ready(self) -> None:
        """raises: Closed, Odd, Overdue"""
        if not self.ready:
            self.channel.receive(time.monotonic() + START_SECONDS)
            self.ready = True

    def pause(self) -> float:
        """Stops the worker and all that it started; returns the processor time that they have taken so far."""
        return self._tell(b"s")

    def resume(self) -> None:
        self._tell(b"c")

    def cpu_seconds(self) -> float:
        """Processor time that the worker and all that it started have taken so far."""
        return self._tell(b"?")

    def prints(self) -> tuple[str, str]:
        """What came on its two outputs since the last time."""
        return self._out.take(), self._err.take()

    def end(self, patience: float = 0.0) -> dict:
        """Ends the worker and all that it started; returns how it ended: reason and exit status.

        patience: seconds to wait for one that is about to end by itself
        """
        select.select([self._control], [], [], patience)
        with contextlib.suppress(OSError):
            self._control.shutdown(socket.SHUT_WR)
        ended = {"reason": "", "status": None, "stack": ""} | self._last_words
        self._control.settimeout(END_SECONDS)
        with contextlib.suppress(OSError, ValueError):
            for line in self._told:
                ended |= json.loads(line)
        try:
            self._supervisor.wait(END_SECONDS)
        except subprocess.TimeoutExpired:
            if self.worker:  # a supervisor that cannot keep up: what it watches ends before it does
                with contextlib.suppress(ProcessLookupError, PermissionError):
                    os.killpg(self.worker, signal.SIGKILL)
            with contextlib.suppress(subprocess.TimeoutExpired):
                self._supervisor.wait(END_SECONDS)
            self._supervisor.kill()
            self._supervisor.wait()
        ended["stack"] = self._err.rest()
        for part in (self._told, self._control, self.channel, self._out, self._err):
            part.close()
        return ended

    def _tell(self, letter: bytes) -> float:
        try:
            self._control.sendall(letter)
            told = json.loads(self._told.readline())
            self._last_words |= {} if "processor" in told else told  # why all is over, for end
            return float(told["processor"])
        except (OSError, ValueError, KeyError):
            raise WorkerLost("") from None

    def stack(self) -> str:
        """Where it is at this moment, as faulthandler writes it, the innermost frame first."""
        self._err.take()
        with contextlib.suppress(ProcessLookupError):
            os.kill(self.worker, signal.SIGUSR1)
        time.sleep(0.3)
        return self._err.take()


def start_supervisor(
    walls: Walls,
    control: socket.socket,
    keep: list[int],
    outputs: tuple[int, int],
    folders: Sequence[Path],
    **order: Any,
) -> subprocess.Popen:
    """Starts a supervisor, which starts a command in the sandbox.

    control:  the supervisor's end of a pair of sockets
    keep:     file descriptors that the command keeps; outputs: those that become its standard output and error
    folders:  the only ones that it may write into; it begins in the first
    order:    its `command` and `environment`; what it may read besides the system (`readable`), and list (`listable`)
    """
    spec = order | {
        "control": control.fileno(),
        "pass": [*keep, *outputs],
        "keep": keep,
        "stdout": outputs[0],
        "stderr": outputs[1],
        "limits": {name: (limit, limit) for name, limit in LIMITS.items()},
        "memory": walls.memory,
        "processes": PROCESSES,
        "threads": THREADS,
        "disk": walls.disk,
        "uid": walls.uid,
        "landlock": walls.landlock,
        "seccomp": walls.seccomp,
        "portable": walls.portable,
        "readable": [*SYSTEM, *_settings(), *_pythons(), *order["readable"]],
        "writable": [*map(str, folders), "/dev/null"],
        "folders": [*map(str, folders)],
    }
    return subprocess.Popen(
        [sys.executable, "-I", "-S", "-B", SUPERVISOR, json.dumps(spec)],
        pass_fds=[control.fileno(), *spec["pass"]],
        stdin=subprocess.DEVNULL,
        start_new_session=True,
    )


class _Prints:
    """A pipe's reading end, and the last of what came out of it."""

    def __init__(self):
        self._reading, self.end = os.pipe()
        self._kept, self._lock, self._over = b"", threading.Lock(), False

    def listen(self) -> None:
        """Once the writing end is handed over."""
        os.close(self.end)
        os.set_blocking(self._reading, False)
        self._thread = threading.Thread(target=self._read, daemon=True)
        self._thread.start()

    def take(self) -> str:
        with self._lock:
            self._drain()  # what was written before the answer came is in the pipe by now
            kept, self._kept = self._kept, b""
        return kept.decode(errors="replace")

    def rest(self) -> str:
        """All that is left, once nobody can write any more."""
        self._thread.join(1)
        return self.take()

    def close(self) -> None:
        self._thread.join(1)

    def _read(self) -> None:
        poll = select.poll()
        poll.register(self._reading, select.POLLIN)
        while not self._over:
            poll.poll()
            with self._lock:
                self._drain()
        os.close(self._reading)

    def _drain(self) -> None:
        """Takes what is in the pipe; not for ever, for some never stop writing."""
        with contextlib.suppress(BlockingIOError):
            for _ in range(READS):
                if self._over:
                    return
                data = os.read(self._reading, 1 << 16)
                self._kept, self._over = (self._kept + data)[:PRINTS], not data


def _settings() -> list[str]:
    """Of the system, what a program may need to start. Not all of it: root's workers have root's files."""
    return [str(path) for name in SETTINGS for path in sorted(Path("/etc").glob(name))]


def _pythons() -> set[str]:
    """Where the interpreter and its packages are."""
    paths = {sys.prefix, sys.base_prefix, *sysconfig.get_paths().values(), str(Path(sys.executable).resolve().parent)}
    return {path for path in paths if Path(path).exists() and path != "/"}


def _texts() -> list[str]:
    return [os.environ["KATA_TEXTS"]] if "KATA_TEXTS" in os.environ else []


def _furnish(own: Path, submission: Path | None) -> None:
    """Links to what a script finds where it is run, in the project's folder. What lies there already stays."""
    for name, place in (("llm", ROOT / "llm"), ("exercises", submission)):
        with contextlib.suppress(FileExistsError):
            if place:
                (own / name).symlink_to(place)


def _order(seed: int) -> str:
    """Of sets, the same for the same seed, which it does not tell."""
    return str(int.from_bytes(hashlib.sha256(f"order {seed}".encode()).digest()[:4]))


def _environment(own: Path, seed: int) -> dict[str, str]:
    # who asks for a user's name gets one, though nobody may have the worker's number
    mine = {"USER": "student", "LOGNAME": "student", "HOME": str(own), "TMPDIR": str(own)}
    mine["PYTHONHASHSEED"] = _order(seed)
    return clean_environment() | mine
