"""Which walls this machine can build, best first, found out by building them."""

import os
import subprocess
import sys
import tempfile
from dataclasses import dataclass, replace
from pathlib import Path

from grader.results.paths import ROOT
from grader.sandbox import landlock, seccomp

PROBE = "import sys, torch, safetensors; open('llm/checkpoint/card.json').read(); open(sys.argv[1]).read()"
LOOK = "import os, sys; sys.exit(any(os.access(path, os.R_OK) for path in sys.argv[1:]))"
PROBE_SECONDS = 120
FIRST_UID, UIDS = 200_000, 100_000  # of users that nobody is; as many again for the suites' own workers


@dataclass(frozen=True)
class Walls:
    """What keeps a worker in. `tier` says it in words, in every result."""

    tier: str
    landlock: bool
    uid: int | None = None
    seccomp: bool = False
    portable: bool = False  # built of nothing that only Linux has
    memory: int = 4 << 30  # bytes that a worker and all that it starts may take together
    disk: int = 2 << 30  # bytes that its scratch folder may: ex09 writes some hundred megabytes

    @property
    def apart(self) -> bool:
        """Whether what runs behind one such wall can do nothing to the processes behind another."""
        return self.uid is not None or self.seccomp or (self.landlock and landlock.keeps_signals_in())

    def of_its_own(self, number: int) -> "Walls":
        """For one of many submissions: no two have the same user, where they have any."""
        return self if self.uid is None else replace(self, uid=FIRST_UID + (self.uid - FIRST_UID + number) % UIDS)

    def for_the_suite(self) -> "Walls":
        """For a worker with nothing of the student's in it, out of the student's reach."""
        return self if self.uid is None else replace(self, uid=self.uid + UIDS)


PRACTICE = Walls("same user: practice only", landlock=False)


def best() -> Walls:
    """The strongest that this machine can build. What was found to work is what every worker then gets, or it fails.

    A user of its own is a wall only where that user cannot read the answers, or where Landlock stands before them; and
    Landlock alone is one only since it keeps whoever it holds from emptying files outside.
    """
    if sys.platform != "linux":
        return replace(PRACTICE, portable=True)
    has_landlock, has_seccomp = landlock.version() > 0, seccomp.works()
    uid = FIRST_UID + os.getpid() % UIDS
    another = os.geteuid() == 0 and _can_import_torch(uid) and (has_landlock or _cannot_read_answers(uid))
    names = [f"Landlock {landlock.version()}"] * has_landlock + ["separate user"] * another + ["seccomp"] * has_seccomp
    if landlock.version() < landlock.KNOWS_TRUNCATE and not another:
        return replace(PRACTICE, landlock=has_landlock, seccomp=has_seccomp)
    return Walls(", ".join(names), has_landlock, uid if another else None, has_seccomp)


def _can_import_torch(uid: int) -> bool:
    """Whether such a user may start this Python, import what a worker imports, and read the model."""
    with tempfile.TemporaryDirectory(prefix="kata-") as folder:  # as a stage will lie there
        os.chmod(folder, 0o755)
        file = Path(folder, "file")
        file.touch()
        file.chmod(0o644)
        return _succeeds(uid, PROBE, str(file))


def _cannot_read_answers(uid: int) -> bool:
    answers = [ROOT / "solutions", ROOT / "tests" / "misconceptions", ROOT / "tests" / "misconceptions.zip"]
    answers += sorted((ROOT / "tests").glob("test_*.py"))
    return _succeeds(uid, LOOK, *(str(path) for path in answers if path.exists()))


def _succeeds(uid: int, code: str, *arguments: str) -> bool:
    command = [sys.executable, "-I", "-B", "-c", code, *arguments]
    try:
        done = subprocess.run(
            command, user=uid, group=uid, extra_groups=[], cwd=ROOT, capture_output=True, timeout=PROBE_SECONDS
        )
    except (OSError, subprocess.SubprocessError):
        return False
    return done.returncode == 0
