"""What a supervisor has to know about the processes below it, on Linux and elsewhere. Standard library only."""

import contextlib
import os
import re
import resource
import subprocess
from collections.abc import Callable
from pathlib import Path

PS = ("ps", "-axo", "pid=,ppid=,pgid=,rss=,time=")


class Linux:
    """By /proc. A process is below this one as long as it lives: as its subreaper, it gets those that lost a parent."""

    def below(self, worker: int) -> list[int]:
        parents = {}
        for entry in os.listdir("/proc"):
            if entry.isdecimal():
                with contextlib.suppress(OSError, IndexError, ValueError):
                    parents[int(entry)] = int(self._status(int(entry))[1])
        return _tree(parents)

    def moving(self, pids: list[int]) -> list[int]:
        """Those of them that are not stopped, and not at their end."""
        found = []
        for pid in pids:
            with contextlib.suppress(OSError, IndexError):
                if self._status(pid)[0] not in "TtZXx":
                    found.append(pid)
        return found

    def threads(self, pids: list[int]) -> int:
        total = 0
        for pid in pids:
            with contextlib.suppress(OSError, IndexError, ValueError):
                total += int(self._status(pid)[17])
        return total

    def has_group(self, group: int, pids: list[int]) -> bool:
        """Whether one of them is in this process group."""
        for pid in pids:
            with contextlib.suppress(OSError, IndexError, ValueError):
                if int(self._status(pid)[2]) == group:
                    return True
        return False

    def held(self, pids: list[int]) -> int:
        """Bytes of memory: their own, and those of files in memory that they keep open."""
        total = 0
        for pid in pids:
            with contextlib.suppress(OSError, IndexError, ValueError):
                total += int(Path("/proc", str(pid), "statm").read_text().split()[1]) * resource.getpagesize()
        return total + self._open(pids, lambda name: name.startswith("/memfd:"))

    def unnamed(self, pids: list[int]) -> int:
        """Bytes of disk: of files that they keep open and nobody can find any more."""
        return self._open(pids, lambda name: name.endswith(" (deleted)") and not name.startswith("/memfd:"))

    def seconds(self, pids: list[int]) -> float:
        """Processor time that they took, threads and children that have ended included."""
        ticks = 0
        for pid in pids:
            with contextlib.suppress(OSError, ValueError):
                ticks += sum(map(int, self._status(pid)[11:15]))
        return ticks / os.sysconf("SC_CLK_TCK") + _ended()

    def available(self) -> float:
        """Bytes of memory that the machine has left."""
        lines = Path("/proc/meminfo").read_text().splitlines()
        return next(int(line.split()[1]) << 10 for line in lines if line.startswith("MemAvailable"))

    def _open(self, pids: list[int], counts: Callable[[str], bool]) -> int:
        total = 0
        for pid in pids:
            with contextlib.suppress(OSError):
                for file in Path("/proc", str(pid), "fd").iterdir():
                    with contextlib.suppress(OSError):
                        if counts(os.readlink(file)):
                            total += os.stat(file).st_blocks * 512
        return total

    def _status(self, pid: int) -> list[str]:
        """The fields after the program's name, which may hold anything."""
        return Path("/proc", str(pid), "stat").read_text().rpartition(")")[2].split()


class Anywhere:
    """By ps, as POSIX and macOS have it. A process that leaves both its parent and its group is out of sight."""

    def below(self, worker: int) -> list[int]:
        rows = self._rows()
        tree = _tree({pid: row[0] for pid, row in rows.items()})
        return [*tree, *(pid for pid, row in rows.items() if row[1] == worker and pid not in tree)]

    def moving(self, pids: list[int]) -> list[int]:
        return pids  # not known

    def threads(self, pids: list[int]) -> int:
        return 0  # not known

    def has_group(self, group: int, pids: list[int]) -> bool:
        rows = self._rows()
        return any(rows[pid][1] == group for pid in pids if pid in rows)

    def held(self, pids: list[int]) -> int:
        return sum(row[2] << 10 for pid, row in self._rows().items() if pid in pids)

    def unnamed(self, pids: list[int]) -> int:
        return 0  # not known

    def seconds(self, pids: list[int]) -> float:
        return sum(row[3] for pid, row in self._rows().items() if pid in pids) + _ended()

    def available(self) -> float:
        return float("inf")  # not known

    def _rows(self) -> dict[int, tuple[int, int, int, float]]:
        """By process: its parent, its group, the kilobytes and the processor time it has taken."""
        rows = {}
        done = subprocess.run(PS, capture_output=True, text=True)
        for line in done.stdout.splitlines():
            with contextlib.suppress(ValueError):
                pid, parent, group, held, time = line.split()
                rows[int(pid)] = int(parent), int(group), int(held), _clock(time)
        return rows


def _tree(parents: dict[int, int]) -> list[int]:
    found: list[int] = []
    pending = [os.getpid()]
    while pending:
        pending = [pid for pid, parent in parents.items() if parent in pending]
        found += pending
    return found


def _clock(text: str) -> float:
    """[[days-]hours:]minutes:seconds, as ps writes it: 1-02:03:04, or 2:03.45."""
    days, _, rest = text.rpartition("-")
    seconds = 0.0
    for part in re.split(":", rest):
        seconds = seconds * 60 + float(part)
    return seconds + 86_400 * int(days or 0)


def _ended() -> float:
    ended = resource.getrusage(resource.RUSAGE_CHILDREN)
    return ended.ru_utime + ended.ru_stime
