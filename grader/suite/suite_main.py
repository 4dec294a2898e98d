"""The child process of grader.run.runner that works for one exercise: `python -m grader.suite.suite_main EVENTS`.

It imports what takes long, says "ready", waits for one job on its standard input, does it, and tells what happens as
JSON lines through the file descriptor EVENTS: a learner's prints cannot get in between. A job is to run a suite, or to
compare its failures with known mistakes.
"""

import contextlib
import faulthandler
import json
import math
import os
import pdb
import resource
import signal
import sys
import tempfile
import threading
from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path

import pytest

from grader.results.failure import Failure
from grader.results.model import CaseResult
from grader.results.paths import ROOT
from grader.results.text import title_of
from grader.suite.plugin import PROGRESS

LARGEST_FILE = 1 << 30  # bytes: no checkpoint is near it, and an endless print does not fill the disk
SLOW = "A slow test is not run while a quick test fails for the same function; add --all to run it."
LONGEST_PART = 60  # characters of the words that say how far a test is
LONGEST_TEXT = 8_000  # characters of a text that travels


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
    from grader.suite.host import host

    send("ready", host=vars(host()))
    line = sys.stdin.readline()
    if not line:
        return  # the run ended without needing this child
    job = json.loads(line)
    _end_with_the_parent()
    sys.stdin = open(os.devnull)  # noqa: SIM115 (for good)
    work = run_diagnosis if job["kind"] == "diagnosis" else run_suite
    send("done", code=work(job, send))


def run_suite(job: dict, send: Callable[..., None]) -> int:
    """Runs what is left of a suite; returns pytest's exit code."""
    options = [f"--submission={job['submission']}", f"--seed={job['seed']}", f"--rootdir={ROOT}"]
    options += ["--override-ini=addopts=", "--disable-plugin-autoload", "-pno:cacheprovider", "-pno:faulthandler"]
    return int(pytest.main([job["suite"], *options, *job["options"]], plugins=[Reporter(send, job)]))


def run_diagnosis(job: dict, send: Callable[..., None]) -> int:
    """Compares the failures of a suite with the known mistakes of its exercise."""
    from grader.suite.diagnosis import FailedTest, diagnose
    from grader.suite.observation import Observation

    failed = []
    for test in job["failed"]:
        with contextlib.suppress(Exception):  # what cannot be read is not compared
            seen = Observation.read(Path(test["file"]))
            failed.append(FailedTest(test["id"], test["function"], seen, test["seconds"], tuple(test["passed"])))

    def tell(test: str, matches: list) -> None:
        send("match", id=test, matches=[asdict(match) for match in matches])

    diagnose(
        job["exercise"], failed, set(job["passed_functions"]), Path(job["among"]), job["seed"], job["seconds"], tell
    )
    return 0


class Reporter:
    """Streams what pytest does; of a job that was begun by another child, runs what is left of it."""

    def __init__(self, send: Callable[..., None], job: dict):
        self.send, self.job = send, job
        self.failed = set(job.get("failed", ()))  # functions of the contract that a test failed for
        self.function = ""  # the one that failed last
        self.case: CaseResult | None = None
        self.observation = None
        self.seconds = 0.0

    def pytest_configure(self, config):
        config.stash[PROGRESS] = lambda part: self.send("within", part=str(part)[:LONGEST_PART])

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
        if self.job.get("quick_first"):
            items.sort(key=lambda item: item.get_closest_marker("slow") is not None)

    @pytest.hookimpl(tryfirst=True)
    def pytest_runtest_protocol(self, item):
        """A slow test that can only tell what a quick one has told is left out."""
        slow = item.get_closest_marker("slow")
        if not (slow and self.job.get("quick_first") and self.failed & set(slow.args)):
            return None
        self.pytest_runtest_logstart(item.nodeid)
        self.case = CaseResult(outcome="failed", kind="not run", failure=Failure(summary=SLOW))
        self.case.case = item.callspec.id if hasattr(item, "callspec") else ""
        self.pytest_runtest_logfinish(item.nodeid)
        return True

    def pytest_runtest_logstart(self, nodeid):
        self.case, self.observation, self.function, self.seconds = None, None, "", 0.0
        self.send("started", id=nodeid)

    def pytest_runtest_logreport(self, report):
        self.seconds += report.duration
        case = getattr(report, "kata", None)
        if case is None and not report.passed:  # a fixture that failed at its end, which the plugin leaves alone
            failure = Failure(summary=f"the suite itself stumbled: {_last_line(report.longreprtext)}")
            case = CaseResult(outcome="failed", kind="suite", failure=failure)
        self.case = case or self.case
        self.observation = getattr(report, "kata_observation", None) or self.observation
        if report.failed and getattr(report, "kata_function", "") and case and case.kind != "not started":
            self.function = report.kata_function
            self.failed.add(self.function)

    def pytest_runtest_logfinish(self, nodeid):
        self.case.seconds = round(self.seconds, 3)
        result = _portable(self.case)
        self.send("finished", id=nodeid, result=result, observation=self._kept(), failed=self.function)

    def _kept(self) -> str:
        """The file with how the test failed; empty where there is nothing to compare."""
        if not (self.observation and self.job.get("observes")):
            return ""
        handle, file = tempfile.mkstemp(prefix="kata-observation-")
        os.close(handle)
        try:
            self.observation.write(Path(file))
        except Exception:  # what a learner's function returned, or broke a law with, is of a kind that no file can hold
            return ""
        return file


def _description(item: pytest.Function) -> dict:
    points, timeout = item.get_closest_marker("points"), item.get_closest_marker("timeout")
    first_line = (item.function.__doc__ or "").strip().partition("\n")[0]
    return {
        "id": item.nodeid,
        "name": item.originalname,
        "title": first_line or title_of(item.originalname),
        "case": item.callspec.id if hasattr(item, "callspec") else "",
        "points": points.args[0] if points else 0,
        "seconds": timeout.args[0] if timeout else None,
    }


def _portable(case: CaseResult) -> dict:
    """case as JSON can hold it, and not longer than anyone would read."""

    def shortened(value):
        if isinstance(value, str):
            return value[:LONGEST_TEXT]
        if isinstance(value, dict):
            return {key: shortened(part) for key, part in value.items()}
        return [shortened(part) for part in value] if isinstance(value, list) else value

    record = shortened(asdict(case) | {"measured": {}})
    figures = {name: float(value) for name, value in case.measured.items()}
    return record | {"measured": {name: value for name, value in figures.items() if math.isfinite(value)}}


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
