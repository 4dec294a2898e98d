"""Starts one worker, walls it in, watches it, and sweeps up: `python supervisor.py SPEC`, with a control socket.

Standard library only: it is there in a few hundredths of a second, and is itself out of the worker's reach. Whatever
the worker starts, also what left its process group, has this process for its nearest reaper, and ends with it. The
control socket takes a letter at a time (s: stop all, c: let them go on, anything else: nothing) and tells JSON lines:
the worker's process id at the beginning, the processor time taken in answer to each letter, and at the end how it
ended. When the socket closes, all is over.
"""

import contextlib
import ctypes
import itertools
import json
import os
import resource
import select
import signal
import socket
import sys
import time
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[2]))

from grader.sandbox import landlock, linux, process_table, seccomp

CAPSET = {"x86_64": 126, "aarch64": 91}
LOOK, LOOK_ANYWHERE = 0.1, 0.5  # seconds between two looks at the worker's memory
LEFT_FREE = 256 << 20  # bytes of the machine's memory
FILES = 50_000  # in its folders
FAIR = 1 << 30  # bytes that a worker may hold even where the machine has little left
PASSES = 50  # over the processes, until all of them are stopped
AT_ONCE = 200  # processes that have ended, taken note of before anything else is done
NEW_NETWORK = 0x40000000  # CLONE_NEWNET


def main(spec: dict) -> None:
    control = socket.socket(fileno=spec["control"])
    control.setblocking(False)
    signal.signal(signal.SIGCHLD, signal.SIG_DFL)  # where it is ignored, nobody hears how a process ended
    if not spec["portable"]:
        linux.prctl(linux.SUBREAPER, 1)
        linux.prctl(linux.DUMPABLE, 0)
    kind = process_table.Anywhere() if spec["portable"] else process_table.Linux()
    worker = os.fork()
    if worker == 0:
        _become_the_worker(spec)
    for fd in set(spec["pass"]):
        os.close(fd)
    _tell(control, worker=worker)
    reason, status = "asked to", None
    try:
        reason, status = _watch(control, worker, spec, kind)
    except OSError:  # nobody is there any more
        pass
    finally:
        _sweep(worker, kind)
    _tell(control, reason=reason, status=status)


def _tell(control: socket.socket, **what) -> None:
    with contextlib.suppress(OSError):
        control.setblocking(True)
        control.sendall((json.dumps(what) + "\n").encode())
        control.setblocking(False)


def _become_the_worker(spec: dict) -> None:
    try:
        os.setsid()
        for fd in [int(entry) for entry in os.listdir("/dev/fd")]:
            with contextlib.suppress(OSError):  # that of the listing itself
                os.set_inheritable(fd, fd in spec["keep"])
        for name, (soft, hard) in spec["limits"].items():
            with contextlib.suppress(ValueError, OSError) if spec["portable"] else contextlib.nullcontext():
                resource.setrlimit(getattr(resource, name), (soft, hard))
        _wall_in(spec)
        os.dup2(os.open(os.devnull, os.O_RDONLY), 0)
        os.dup2(spec["stdout"], 1)
        os.dup2(spec["stderr"], 2)
        os.chdir(spec["folders"][0])
        os.execve(spec["command"][0], spec["command"], spec["environment"])
    except BaseException as error:
        os.write(spec["stderr"], f"the worker cannot be put into its sandbox: {error}\n".encode())
    finally:
        os._exit(97)


def _wall_in(spec: dict) -> None:
    """Everything that the tier promises, or an error."""
    if spec["portable"]:
        return  # it promises nothing
    if os.geteuid() == 0:
        with contextlib.suppress(OSError):
            _unshare_network()
    if spec["uid"] is not None:
        os.setgroups([])
        os.setresgid(spec["uid"], spec["uid"], spec["uid"])
        os.setresuid(spec["uid"], spec["uid"], spec["uid"])
    elif os.geteuid() == 0:
        _drop_capabilities()
    linux.prctl(linux.PARENT_DEATH_SIGNAL, signal.SIGKILL)
    linux.prctl(linux.NO_NEW_PRIVILEGES, 1)
    if spec["landlock"]:
        paths = {kind: [Path(p) for p in spec[kind]] for kind in ("readable", "listable", "writable")}
        landlock.restrict(**paths)
    if spec["seccomp"]:
        # Landlock keeps signals in since its version 6, and a user of its own always: programs of its own it may end.
        seccomp.restrict(signals=spec["uid"] is not None or (spec["landlock"] and landlock.keeps_signals_in()))


def _unshare_network() -> None:
    if linux.libc.unshare(NEW_NETWORK):
        raise linux.error("unshare")


def _drop_capabilities() -> None:
    """Root without any of root's powers."""
    for capability in range(64):
        with contextlib.suppress(OSError):  # numbers that this kernel does not know
            linux.prctl(linux.DROP_CAPABILITY, capability)
    header = (ctypes.c_uint32 * 2)(0x20080522, 0)  # version 3, this process
    nothing = (ctypes.c_uint32 * 6)()
    number = CAPSET.get(os.uname().machine)
    if number is None or linux.libc.syscall(number, header, nothing):
        raise OSError("capabilities cannot be given up")


Kind = process_table.Linux | process_table.Anywhere


class _Disk:
    """The room that a worker's folders take: measured only when their disk has lost as much, to whomever."""

    def __init__(self, folders: Sequence[str], limit: int):
        self._folders, self._limit = folders, limit
        self._bytes, self._files = self._free()

    def is_full(self, unnamed: Callable[[], int]) -> bool:
        """unnamed: tells how many bytes are in files that are open and have no name"""
        free, files = self._free()
        if self._bytes - free < self._limit and self._files - files < FILES:
            return False
        taken, count = unnamed(), 0
        too_deep: list[OSError] = []
        walks = (os.walk(folder, onerror=too_deep.append) for folder in self._folders)
        for place, _, names in itertools.chain(*walks):
            count += 1 + len(names)
            for name in names:
                with contextlib.suppress(OSError):
                    taken += os.lstat(os.path.join(place, name)).st_blocks * 512
            if taken > self._limit or count > FILES:
                return True
        return taken > self._limit or bool(too_deep)

    def _free(self) -> tuple[int, int]:
        """Bytes and files, of each disk that the folders are on."""
        disks = {os.stat(folder).st_dev: os.statvfs(folder) for folder in self._folders}.values()
        return sum(disk.f_bavail * disk.f_frsize for disk in disks), sum(disk.f_favail for disk in disks)


def _watch(control: socket.socket, worker: int, spec: dict, kind: Kind) -> tuple[str, int | None]:
    """Why it is over, and the worker's exit status where it ended by itself."""
    poll = select.poll()
    poll.register(control, select.POLLIN | select.POLLHUP)
    disk = _Disk(spec["folders"], spec["disk"])
    looked, pause = 0.0, LOOK_ANYWHERE if spec["portable"] else LOOK
    while True:
        if poll.poll(pause * 1000):
            said = control.recv(1)
            if not said:
                return "asked to", None
            if said == b"s":
                _stop(worker, kind)
            elif said == b"c":
                _signal(kind.below(worker), signal.SIGCONT)
            _tell(control, processor=kind.seconds(kind.below(worker)))
        for _ in range(AT_ONCE):
            try:
                pid, status = os.waitpid(-1, os.WNOHANG)
            except ChildProcessError:
                return "ended", None
            if pid == worker:
                return "ended", os.waitstatus_to_exitcode(status)
            if pid == 0:
                break
        if time.monotonic() - looked >= pause:
            looked = time.monotonic()
            below = kind.below(worker)
            if len(below) > spec["processes"]:
                return f"more than {spec['processes']} processes", None
            if kind.threads(below) > spec["threads"]:
                return f"more than {spec['threads']} threads", None
            held = kind.held(below)
            if held > spec["memory"] or (held > FAIR and kind.available() < LEFT_FREE):
                return f"more than {spec['memory'] >> 20:,} MB of memory", None
            if disk.is_full(lambda below=below: kind.unnamed(below)):
                return f"more than {spec['disk'] >> 20:,} MB or {FILES:,} files of disk", None


def _stop(worker: int, kind: Kind) -> None:
    """Stops everything, also what is born meanwhile, and what another one sets going again before it stops itself.

    One look does not tell: the last that moves may set going again what was looked at before it. Two in a row do.
    """
    still = 0
    for k in range(PASSES):
        moving = kind.moving(kind.below(worker))
        still = 0 if moving else still + 1
        if still == 2:
            return
        _signal(moving, signal.SIGSTOP)
        time.sleep(0.001 * (k > 0))
        if isinstance(kind, process_table.Anywhere) and k:
            return  # it cannot be seen who stands still


def _signal(pids: Iterable[int], number: int) -> None:
    for pid in pids:
        with contextlib.suppress(ProcessLookupError, PermissionError):
            os.kill(pid, number)


def _sweep(worker: int, kind: Kind) -> None:
    """Ends all that is left, also what is born meanwhile."""
    while True:
        below = kind.below(worker)
        if kind.has_group(worker, below):  # all at once, before another can be born
            with contextlib.suppress(ProcessLookupError, PermissionError):
                os.killpg(worker, signal.SIGKILL)
        _signal(below, signal.SIGKILL)
        try:
            for _ in range(AT_ONCE):
                if not os.waitpid(-1, os.WNOHANG)[0]:
                    time.sleep(0.01)
                    break
        except ChildProcessError:
            return


if __name__ == "__main__":
    main(json.loads(sys.argv[1]))
