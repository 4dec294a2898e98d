"""Which walls this machine can build, best first, found out by building them."""

import os
import subprocess
import sys
from dataclasses import dataclass, replace

from grader.sandbox import landlock
from grader.syllabus import ROOT

PROBE = "import torch, safetensors; open('llm/checkpoint/card.json').read()"
PROBE_SECONDS = 120
FIRST_UID, UIDS = 200_000, 100_000  # of users that nobody is; as many again for the suites' own workers


@dataclass(frozen=True)
class Walls:
    """What keeps a worker in. `tier` says it in words, in every result."""

    tier: str
    landlock: bool
    uid: int | None = None
    memory: int = 4 << 30  # bytes that a worker and all that it starts may take together

    @property
    def apart(self) -> bool:
        """Whether what runs behind one such wall can do nothing to the processes behind another."""
        return self.uid is not None or (self.landlock and landlock.version() >= landlock.KNOWS_SIGNALS)

    def for_the_suite(self) -> "Walls":
        """For a worker with nothing of the student's in it, out of the student's reach."""
        return self if self.uid is None else replace(self, uid=self.uid + UIDS)


PRACTICE = Walls("same user: practice only", landlock=False)


def best() -> Walls:
    """The strongest that this machine can build. What was found to work is what every worker then gets, or it fails."""
    has_landlock = sys.platform == "linux" and landlock.version() > 0
    uid = FIRST_UID + os.getpid() % UIDS
    another = sys.platform == "linux" and os.geteuid() == 0 and _can_import_torch(uid)
    if has_landlock:
        name = f"Landlock {landlock.version()}"
        return Walls(f"{name}, separate user", True, uid) if another else Walls(name, True)
    return Walls("separate user", False, uid) if another else PRACTICE


def _can_import_torch(uid: int) -> bool:
    """Whether such a user may start this Python, import what a worker imports, and read the model."""
    try:
        command = [sys.executable, "-I", "-B", "-c", PROBE]
        done = subprocess.run(
            command, user=uid, group=uid, extra_groups=[], cwd=ROOT, capture_output=True, timeout=PROBE_SECONDS
        )
    except (OSError, subprocess.SubprocessError):
        return False
    return done.returncode == 0
