"""The parent's side of suite/suite_main.py: starting children, hearing from them, their processor time, ending them."""

import contextlib
import json
import math
import os
import select
import signal
import subprocess
import sys
import tempfile
import threading
import time
from pathlib import Path

import psutil

from grader.results.clean_environment import clean_environment
from grader.results.model import Host
from grader.results.paths import ROOT
from grader.results.safe_files import scratch_folder

HEED = 0.2  # seconds between two looks at whether all is to stop
START_SECONDS = 180  # for a child's imports: the first import of torch from a cold disk takes long


class ChildGone(Exception):
    """The child's end of the pipe closed."""


class Stopped(Exception):
    """All is to stop: what was under way has no result."""


class StartError(RuntimeError):
    """No child can be started: the installation is at fault, not the submission."""


class Child:
    """An interpreter that imports what a suite needs, and then waits for one job.

    scratch: for its temporary files, which are not its own to remove: it may be killed at any time
    stopped: once it is set, nobody waits for this child any more
    """

    def __init__(self, seed: int, scratch: str, stopped: threading.Event):
        reading, writing = os.pipe()
        # the seed decides the order of sets, too: the same run again is the same in everything
        environment = clean_environment() | {"PYTHONHASHSEED": str(seed), "TMPDIR": scratch}
        self._stderr = tempfile.TemporaryFile()  # noqa: SIM115 (closed in end)
        self._process = subprocess.Popen(
            [sys.executable, "-m", "grader.suite.suite_main", str(writing)],
            cwd=ROOT,
            env=environment,
            stdin=subprocess.PIPE,
            stdout=subprocess.DEVNULL,
            stderr=self._stderr,
            pass_fds=[writing],
            start_new_session=True,  # so that it and all that it starts can be ended together
        )
        os.close(writing)
        self._events, self._unread, self._stopped = reading, b"", stopped
        self.host: Host | None = None

    def wait_until_ready(self) -> None:
        """raises: StartError, Stopped"""
        if not self.is_ready(time.monotonic() + START_SECONDS):
            reason = self.stderr().strip().splitlines() or [f"no answer in {START_SECONDS} s"]
            raise StartError(f"the tests cannot start ({reason[-1]}): delete the folder .venv and try again")

    def is_ready(self, until: float) -> bool:
        """Whether it has imported everything by that time (of time.monotonic). raises: Stopped"""
        if self.host is None:
            try:
                event = self.receive(until)
            except ChildGone:
                return False
            self.host = event and Host(**event["host"])
        return self.host is not None

    def receive(self, until: float, spent: float = math.inf) -> dict | None:
        """The next event; None when there was none until that time.

        until: of time.monotonic; spent: seconds of processor time that this child has taken by then
        raises: ChildGone, Stopped
        """
        while b"\n" not in self._unread:
            if self._stopped.is_set():
                raise Stopped
            left = until - time.monotonic()
            if not select.select([self._events], [], [], min(HEED, max(0.0, left)))[0]:
                if left <= 0 or (spent < math.inf and self.processor_seconds() >= spent):
                    return None
                continue
            received = os.read(self._events, 1 << 16)
            if not received:
                raise ChildGone
            self._unread += received
        line, _, self._unread = self._unread.partition(b"\n")
        return json.loads(line)

    def send(self, job: dict) -> None:
        with contextlib.suppress(BrokenPipeError):  # it is gone: receive will tell
            self._process.stdin.write(json.dumps(job).encode() + b"\n")
            self._process.stdin.flush()

    def processor_seconds(self) -> float:
        """Processor time that it has taken so far, its threads and the children that it waited for included."""
        try:
            times = psutil.Process(self._process.pid).cpu_times()
        except psutil.Error:
            return 0.0
        children = getattr(times, "children_user", 0.0) + getattr(times, "children_system", 0.0)
        return times.user + times.system + children

    def stack(self) -> str:
        """Where it is at this moment, as faulthandler writes it, the innermost frame first; empty when it is gone."""
        before = len(self.stderr())
        os.kill(self._process.pid, signal.SIGUSR1)
        deadline = time.monotonic() + 1
        while time.monotonic() < deadline:
            time.sleep(0.1)
            if len(text := self.stderr()) > before:
                return text[before:]
        return ""

    def stderr(self) -> str:
        return os.pread(self._stderr.fileno(), 1 << 20, 0).decode(errors="replace")

    def end(self) -> int:
        """Ends it and all that it started; returns its exit code, negative for a signal."""
        with contextlib.suppress(ProcessLookupError, PermissionError):  # macOS: PermissionError for one that has ended
            os.killpg(self._process.pid, signal.SIGKILL)
        code = self._process.wait()
        os.close(self._events)
        self._stderr.close()
        with contextlib.suppress(BrokenPipeError):
            self._process.stdin.close()
        return code


class Children:
    """Hands out ready children, and can have a spare one importing while another is at work.

    scratch: the folder for their temporary files; None: where the system has such files
    stopped: set by another thread, it makes whoever waits for a child get Stopped
    """

    def __init__(self, seed: int, scratch: Path | None = None, stopped: threading.Event | None = None):
        self._seed, self._place, self._stopped = seed, scratch, stopped or threading.Event()
        self._living: list[Child] = []
        self._spare: Child | None = None

    def __enter__(self):
        self._folder = contextlib.ExitStack()
        self._scratch = self._folder.enter_context(scratch_folder("kata-", self._place))
        return self

    def __exit__(self, *_):
        for child in list(self._living):
            self.end(child)
        self._folder.close()

    def take(self) -> Child:
        """raises: StartError, Stopped"""
        self.prepare()
        child, self._spare = self._spare, None
        child.wait_until_ready()
        return child

    def take_soon(self, until: float) -> Child | None:
        """A child that is ready by that time (of time.monotonic); None where there will be none.

        raises: Stopped
        """
        self.prepare()
        if not self._spare.is_ready(until):
            return None
        child, self._spare = self._spare, None
        return child

    def prepare(self) -> None:
        """Lets a spare child begin with its imports."""
        if self._spare is None:
            self._spare = Child(self._seed, str(self._scratch), self._stopped)
            self._living.append(self._spare)

    def settle(self) -> None:
        """Waits until the spare child has imported everything and is quiet."""
        if self._spare:
            self._spare.wait_until_ready()

    def end(self, child: Child) -> int:
        self._living.remove(child)
        return child.end()
