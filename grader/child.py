"""The process that runs one exercise's suite for grader.runner: `python -m grader.child EVENTS`.

It imports what takes long, says "ready", waits for one job on its standard input, runs pytest on it, and tells what
happens as JSON lines through the file descriptor EVENTS: a learner's prints cannot get in between.
"""

import faulthandler
import json
import math
import os
import pdb
import resource
import signal
import sys
import threading
from collections.abc import Callable

import pytest

from grader.syllabus import ROOT

LARGEST_FILE = 1 << 30  # bytes: no checkpoint is near it, and an endless print does not fill the disk
LONGEST_TEXT = 8_000  # characters of a message or of prints that travel


def main() -> None:
    events = int(sys.argv[1])
    os.set_inheritable(events, False)  # a program that an exercise starts must not keep it open
    stacks = os.dup(sys.stderr.fileno())  # pytest is about to capture standard error itself
    faulthandler.enable(stacks)
    faulthandler.register(signal.SIGUSR1, stacks)  # "where are you?", answered also inside a bare except
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    limit = resource.getrlimit(resource.RLIMIT_FSIZE)[1]
    resource.setrlimit(resource.RLIMIT_FSIZE, (LARGEST_FILE if limit < 0 else min(LARGEST_FILE, limit), limit))

    def send(event: str, **content) -> None:
        os.write(events, (json.dumps({"event": event} | content) + "\n").encode())

    import hypothesis  # noqa: F401

    import llm.checkpoint
    import llm.corpus  # noqa: F401
    from grader.host import host

    send("ready", host=vars(host()))
    line = sys.stdin.readline()
    if not line:
        return  # the run ended without needing this child
    job = json.loads(line)
    _end_with_the_parent()
    sys.stdin = open(os.devnull)  # noqa: SIM115 (for good)
    code = pytest.main(
        [
            job["suite"],
            f"--submission={job['submission']}",
            f"--seed={job['seed']}",
            f"--rootdir={ROOT}",
            "--override-ini=addopts=",
            "-pno:cacheprovider",
            "-pno:faulthandler",
            *job["options"],
        ],
        plugins=[Reporter(send, job)],
    )
    send("done", code=int(code))


class Reporter:
    """Streams what pytest does; of a job that was begun by another child, runs what is left of it."""

    def __init__(self, send: Callable[..., None], job: dict):
        self.send, self.job = send, job
        self.verdict = {}
        self.seconds = 0.0

    def pytest_sessionstart(self):
        def refuse(*_, **__):
            raise RuntimeError(f"there is no debugger in here: type {self.job['debug']}")

        sys.breakpointhook = pdb.set_trace = refuse

    def pytest_collectreport(self, report):
        if report.failed:
            self.send("broken", message=_last_line(report.longreprtext))

    def pytest_collection_modifyitems(self, items):
        self.send("collected", tests=[_description(item) for item in items])
        done = set(self.job["done"])
        items[:] = [item for item in items if item.nodeid not in done]

    def pytest_runtest_logstart(self, nodeid):
        self.verdict, self.seconds = {}, 0.0
        self.send("started", id=nodeid)

    def pytest_runtest_logreport(self, report):
        self.seconds += report.duration
        verdict = getattr(report, "kata", None)
        if verdict is None and not report.passed:  # a fixture that failed at its end, which the plugin leaves alone
            message = f"the suite itself stumbled: {_last_line(report.longreprtext)}"
            verdict = self.verdict | {"outcome": "failed", "kind": "suite", "message": message}
        self.verdict = verdict or self.verdict

    def pytest_runtest_logfinish(self, nodeid):
        self.send("finished", id=nodeid, result=_portable(self.verdict) | {"seconds": round(self.seconds, 3)})


def _description(item: pytest.Function) -> dict:
    points, timeout = item.get_closest_marker("points"), item.get_closest_marker("timeout")
    return {
        "id": item.nodeid,
        "name": item.originalname,
        "case": item.callspec.id if hasattr(item, "callspec") else "",
        "points": points.args[0] if points else 0,
        "seconds": timeout.args[0] if timeout else None,
    }


def _portable(verdict: dict) -> dict:
    """verdict as JSON can hold it, and not longer than anyone would read; the question in it apart, as its hint."""
    message = verdict["message"].replace("\n  ", "\n")  # pytest indents what follows the first line of an assertion
    message, _, hint = message.partition("\nthink     ")  # a row of tests.messages.explain
    verdict = verdict | {"message": message, "hint": hint}
    texts = {key: verdict[key][:LONGEST_TEXT] for key in ("message", "hint", "output")}
    figures = {name: float(value) for name, value in verdict.get("measured", {}).items()}
    return verdict | texts | {"measured": {name: value for name, value in figures.items() if math.isfinite(value)}}


def _last_line(text: str) -> str:
    return next((line for line in reversed(text.splitlines()) if line.strip()), "no reason given").strip()


def _end_with_the_parent() -> None:
    """Standard input stays open as long as the parent lives: when it closes, so does this process."""
    lifeline = os.dup(sys.stdin.fileno())

    def wait():
        os.read(lifeline, 1)
        os._exit(1)

    threading.Thread(target=wait, daemon=True).start()
    os.dup2(os.open(os.devnull, os.O_RDONLY), sys.stdin.fileno())


if __name__ == "__main__":
    main()
