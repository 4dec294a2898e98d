"""How a process with a learner's code came to its end, in words for the test that it was running."""

import linecache
import os
import re
import signal
from dataclasses import dataclass, field
from pathlib import Path

from grader.results.failure import Failure, Frame
from grader.results.model import Outcome
from grader.results.paths import shortened

SIGNALS = {
    signal.SIGSEGV: "the Python interpreter crashed with a segmentation fault",
    signal.SIGABRT: "the Python interpreter aborted",
    signal.SIGBUS: "the Python interpreter crashed with a bus error",
    signal.SIGFPE: "the Python interpreter crashed with an arithmetic error",
    signal.SIGILL: "the Python interpreter crashed with an illegal instruction",
    signal.SIGKILL: "the process was killed, probably because the machine ran out of memory",
}


@dataclass(frozen=True)
class ProcessFailure:
    """frames: the learner's own, the innermost first; importing: it came to its end while a file was imported"""

    outcome: Outcome
    summary: str
    think: str = ""
    frames: tuple[Frame, ...] = field(default=())
    importing: bool = False

    @property
    def failure(self) -> Failure:
        frames = [Frame(file=shortened(f.file), line=f.line, function=f.function, text=f.text) for f in self.frames]
        return Failure(summary=self.summary, think=self.think, frames=frames[:1])

    @property
    def place(self) -> tuple[str, int, str] | None:
        """File, line and function of the innermost frame."""
        return (self.frames[0].file, self.frames[0].line, self.frames[0].function) if self.frames else None


def overdue(stack: str, folder: str, seconds: float, of: str = "", waited: bool = False) -> ProcessFailure:
    """Of a process that did not answer in time.

    stack:   where it was then, as faulthandler writes it; folder: where the learner's files are
    seconds: of processor time that it had, or that passed where it `waited`
    of:      whose time was up, where that is not one test's
    """
    frames = own_frames(stack, folder)
    module = next((frame for frame in frames if frame.function == "<module>"), None)
    what = f"importing {Path(module.file).name}" if module else f"`{frames[0].function}`" if frames else "the test"
    think = "Is there a loop that never ends?" if frames else "Is this computer busy with something else?"
    unit = "s, most of which it waited" if waited else "s of processor time"
    summary = f"{of or what} did not finish within {seconds:.0f} {unit}"
    return ProcessFailure("timeout", summary, think, tuple(frames), importing=module is not None)


def crashed(code: int, stack: str, folder: str) -> ProcessFailure:
    """Of a process that ended by itself, with this exit code, negative for a signal."""
    if code >= 0:
        summary, think = f"the Python interpreter was closed with exit code {code}", "Is there an os._exit somewhere?"
    else:
        name = signal.Signals(-code).name if -code in iter(signal.Signals) else str(-code)
        summary, think = SIGNALS.get(-code, f"the Python interpreter ended with signal {name}"), ""
    return ProcessFailure("crashed", summary, think, tuple(own_frames(stack, folder)))


def own_frames(stack: str, folder: str) -> list[Frame]:
    """The learner's frames of what faulthandler wrote, the innermost first."""
    found = re.findall(r'^  File "(.+)", line (\d+) in (.+)$', stack, re.MULTILINE)
    return [
        Frame(file=file, line=int(line), function=function, text=linecache.getline(file, int(line)).strip())
        for file, line, function in found
        if Path(os.path.normpath(file)).is_relative_to(folder)
    ]
