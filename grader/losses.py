"""How a process with a learner's code came to its end, in words for the test that it was running."""

import linecache
import os
import re
import signal
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

from grader.results import Outcome
from grader.syllabus import ROOT

SIGNALS = {
    signal.SIGSEGV: "a segmentation fault",
    signal.SIGABRT: "an abort",
    signal.SIGBUS: "a bus error",
    signal.SIGFPE: "an arithmetic error",
    signal.SIGILL: "an illegal instruction",
    signal.SIGKILL: "killed from outside, perhaps for lack of memory",
}


class Place(NamedTuple):
    """A frame of the learner's own code."""

    file: str
    line: int
    function: str

    def __str__(self) -> str:
        return f"at        {shorten(self.file)}:{self.line}: {linecache.getline(self.file, self.line).strip()}"


@dataclass(frozen=True)
class Loss:
    outcome: Outcome
    message: str
    hint: str = ""
    place: Place | None = None  # the innermost
    importing: bool = False


def overdue(stack: str, folder: str, seconds: float, of: str = "") -> Loss:
    """Of a process that did not answer within so many seconds.

    stack:  where it was then, as faulthandler writes it; folder: where the learner's files are
    of:     whose time was up, where that is not one test's
    """
    frames = own_frames(stack, folder)
    place, module = next(iter(frames), None), next((f for f in frames if f.function == "<module>"), None)
    what = f"importing {Path(module.file).name}" if module else f"`{place.function}`" if place else "the test"
    hint = "Is there a loop that never ends?" if place else "Is this computer busy with something else?"
    message = f"{of or what} did not finish within {seconds:.0f} s"
    return Loss("timeout", message, hint, place, importing=module is not None)


def crashed(code: int, stack: str, folder: str) -> Loss:
    """Of a process that ended by itself, with this exit code, negative for a signal."""
    if code >= 0:
        message, hint = f"the Python interpreter was closed, exit code {code}", "Is there an os._exit somewhere?"
    else:
        message, hint = f"the Python interpreter died of {SIGNALS.get(-code, signal.Signals(-code).name)}", ""
    return Loss("crashed", message, hint, next(iter(own_frames(stack, folder)), None))


def own_frames(stack: str, folder: str) -> list[Place]:
    """The learner's frames of what faulthandler wrote, the innermost first."""
    frames = re.findall(r'^  File "(.+)", line (\d+) in (.+)$', stack, re.MULTILINE)
    places = [Place(file, int(line), function) for file, line, function in frames]
    return [place for place in places if Path(os.path.normpath(place.file)).is_relative_to(folder)]


def shorten(file: str) -> str:
    """file as a learner would type it."""
    return str(Path(file).relative_to(ROOT)) if Path(file).is_relative_to(ROOT) else file
