"""Runs exercises, each suite in a child process of its own, and owns every deadline.

An endless loop or a crash costs the test in which it happens: the child is replaced and the rest of the suite goes on.
This side never imports torch, so that the command answers at once.
"""

import hashlib
import linecache
import re
import shlex
import signal
import time
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import NamedTuple, Protocol

from grader.children import Child, ChildGone, Children
from grader.results import FINISHED, CaseResult, ExerciseResult, FunctionResult, Outcome, RunResult, combine
from grader.syllabus import ROOT, Exercise

LOAD_SECONDS = 60  # for a suite to load
TEST_SECONDS = 20  # for a test without a pytest.mark.timeout of its own
EXERCISE_SECONDS = 300
REPLACEMENTS = 1  # children an exercise gets after its first: a second loss is most likely the same mistake again

SIGNALS = {
    signal.SIGSEGV: "a segmentation fault",
    signal.SIGABRT: "an abort",
    signal.SIGBUS: "a bus error",
    signal.SIGFPE: "an arithmetic error",
    signal.SIGILL: "an illegal instruction",
    signal.SIGKILL: "killed from outside, perhaps for lack of memory",
}


class Progress(Protocol):
    """Is told what goes on during a run."""

    def testing(self, exercise: Exercise, test: str, done: int, total: int) -> None: ...
    def finished(self, result: ExerciseResult) -> None: ...


class Interrupted(Exception):
    """Ctrl-C: `result` holds what was finished."""

    def __init__(self, result: RunResult):
        super().__init__("stopped")
        self.result = result


def run(exercises: Sequence[Exercise], submission: Path, shown: str, seed: int, progress: Progress) -> RunResult:
    """Checks every exercise that waits for no other, in order. A need that is not among `exercises` counts as met.

    submission: the folder to check; `shown` is its name in the result
    raises:     StartError, Interrupted
    """
    result = RunResult(submission=shown, seed=seed, suite=suite_hash())
    states: dict[str, str] = {}
    try:
        with Children(seed) as children:
            for index, exercise in enumerate(exercises):
                if waits_for := _waits_for(exercise, states):
                    outcome = _result(exercise, waits_for=waits_for)
                else:
                    child = children.take()
                    result.host = child.host
                    states[exercise.name] = "passed"  # for the moment: if it does, which one is next?
                    if any(not _waits_for(later, states) for later in exercises[index + 1 :]):
                        children.prepare()
                    if exercise.timed:
                        children.settle()
                    outcome = _Suite(exercise, _job(exercise, submission, shown, seed), progress).run(child, children)
                states[exercise.name] = outcome.state
                result.exercises.append(outcome)
                progress.finished(outcome)
    except KeyboardInterrupt:
        raise Interrupted(result) from None
    return result


def suite_hash() -> str:
    """Of the graded suites, their helpers and the syllabus: names and contents."""
    digest = hashlib.sha256()
    for file in [*sorted((ROOT / "tests").glob("*.py")), ROOT / "exercises" / "syllabus.toml"]:
        digest.update(file.name.encode() + b"\0" + file.read_bytes() + b"\0")
    return digest.hexdigest()


def _waits_for(exercise: Exercise, states: dict[str, str]) -> list[str]:
    return [need for need in exercise.needs if states.get(need, "passed") not in FINISHED]


def _result(exercise: Exercise, **rest) -> ExerciseResult:
    return ExerciseResult(
        name=exercise.name, title=exercise.title, track=exercise.track, points=exercise.points, **rest
    )


def _job(exercise: Exercise, submission: Path, shown: str, seed: int) -> dict:
    suite = str(exercise.suite.relative_to(ROOT))
    debug = f".venv/bin/python -m pytest {suite}"
    if submission != ROOT / "exercises":
        debug += f" --submission {shlex.quote(shown)}"
    return {"suite": suite, "submission": str(submission), "seed": seed, "debug": debug}


def _shorten(file: str) -> str:
    """file as a learner would type it."""
    return str(Path(file).relative_to(ROOT)) if Path(file).is_relative_to(ROOT) else file


class _Place(NamedTuple):
    """A frame of the learner's own code."""

    file: str
    line: int
    function: str

    def __str__(self) -> str:
        return f"at        {_shorten(self.file)}:{self.line}: {linecache.getline(self.file, self.line).strip()}"


@dataclass(frozen=True)
class _Loss:
    """How a child was lost, in words for the test that it was running."""

    outcome: Outcome
    message: str
    hint: str = ""
    place: _Place | None = None  # the innermost
    importing: bool = False


class _Suite:
    """One exercise under test: what was collected, and what came of it so far."""

    def __init__(self, exercise: Exercise, job: dict, progress: Progress):
        self.exercise, self.job, self.progress = exercise, job, progress
        self.tests: dict[str, dict] = {}  # as grader.child describes them, by their id
        self.cases: dict[str, CaseResult] = {}
        self.running: str | None = None
        self.problem = ""
        self.end = time.monotonic() + EXERCISE_SECONDS
        self._allow(LOAD_SECONDS)

    def run(self, child: Child, children: Children) -> ExerciseResult:
        loss = self._work(child, children)
        for _ in range(REPLACEMENTS):
            if loss and self._left() and not self._hopeless(loss):
                loss = self._work(children.take(), children)
        for test in self._left() if loss else ():
            self.cases[test] = CaseResult(
                outcome=loss.outcome, kind="not run", message="not run: an earlier test did not finish"
            )
        return _result(self.exercise, problem=self.problem, functions=[] if self.problem else self._functions())

    def _work(self, child: Child, children: Children) -> _Loss | None:
        """Lets child run what is left, and ends it; returns how it was lost, None when it came to the end."""
        child.send(self.job | {"done": sorted(self.cases)})
        self._allow(LOAD_SECONDS)
        try:
            while (event := child.receive(self.until)) and event["event"] != "done":
                self._note(event)
            loss = self._stopped(event["code"], child.stderr()) if event else self._overdue(child.stack())
            children.end(child)
        except ChildGone:
            stack = child.stderr()
            loss = self._crashed(children.end(child), stack)
        if loss:
            self._charge(loss)
        return loss

    def _note(self, event: dict) -> None:
        match event:
            case {"event": "collected", "tests": tests}:
                self.tests = {test["id"]: test for test in tests}
                self._allow(TEST_SECONDS)
            case {"event": "broken", "message": message}:
                self.problem = f"{self.job['suite']} does not load: {message}"
            case {"event": "started", "id": test}:
                self.running = test
                self._allow(self.tests[test]["seconds"] or TEST_SECONDS)
                self.progress.testing(self.exercise, self.tests[test]["name"], len(self.cases), len(self.tests))
            case {"event": "finished", "id": test, "result": result}:
                file = _shorten(result["file"]) if result["file"] else None
                self.cases[test] = CaseResult(**result | {"case": self.tests[test]["case"], "file": file})
                self.running = None
                self._allow(TEST_SECONDS)

    def _allow(self, seconds: float) -> None:
        self.since = time.monotonic()
        self.until = min(self.since + seconds, self.end)

    def _stopped(self, code: int, stderr: str) -> _Loss | None:
        """pytest came to an end: of the suite, hopefully."""
        if not self.tests:
            reason = (stderr.strip().splitlines() or [f"pytest's exit code {code}"])[-1]
            self.problem = self.problem or f"{self.job['suite']} does not run: {reason}"
        return _Loss("crashed", "the test run was stopped from inside") if self._left() else None

    def _overdue(self, stack: str) -> _Loss:
        frames = self._own_frames(stack)
        place, module = next(iter(frames), None), next((f for f in frames if f.function == "<module>"), None)
        what = f"importing {Path(module.file).name}" if module else f"`{place.function}`" if place else "the test"
        message = f"{what} did not finish within {self.until - self.since:.0f} s"
        if self.until == self.end:
            message = f"the tests of this exercise did not finish within {EXERCISE_SECONDS} s"
        hint = "Is there a loop that never ends?" if place else "Is this computer busy with something else?"
        return _Loss("timeout", message, hint, place, importing=module is not None)

    def _crashed(self, code: int, stack: str) -> _Loss:
        if code >= 0:
            message, hint = f"the Python interpreter was closed, exit code {code}", "Is there an os._exit somewhere?"
        else:
            message, hint = f"the Python interpreter died of {SIGNALS.get(-code, signal.Signals(-code).name)}", ""
        return _Loss("crashed", message, hint, next(iter(self._own_frames(stack)), None))

    def _own_frames(self, stack: str) -> list[_Place]:
        """The learner's frames of what faulthandler wrote, the innermost first."""
        frames = re.findall(r'^  File "(.+)", line (\d+) in (.+)$', stack, re.MULTILINE)
        places = [_Place(file, int(line), function) for file, line, function in frames]
        return [place for place in places if Path(place.file).is_relative_to(self.job["submission"])]

    def _charge(self, loss: _Loss) -> None:
        """Puts a loss down to the test that was running; another child need not try that function's other cases."""
        if not self.tests:
            self.problem = self.problem or f"{self.job['suite']} does not load: {loss.message}"
        if self.running is None:
            return
        lost, place = self.tests[self.running], loss.place
        self.cases[lost["id"]] = case = CaseResult(
            outcome=loss.outcome,
            message=f"{loss.message}\n{place}" if place else loss.message,
            hint=loss.hint,
            case=lost["case"],
            file=_shorten(place.file if place else f"{self.job['submission']}/{self.exercise.name}.py"),
            line=place.line if place else None,
            seconds=round(time.monotonic() - self.since, 3),
        )
        for test in self._left():
            if self.tests[test]["name"] == lost["name"]:
                self.cases[test] = replace(case, seconds=0.0)
        self.running = None

    def _hopeless(self, loss: _Loss) -> bool:
        """Whether every other test would end the same way, or there is no time left for them."""
        return loss.importing or time.monotonic() > self.end

    def _left(self) -> list[str]:
        return [test for test in self.tests if test not in self.cases]

    def _functions(self) -> list[FunctionResult]:
        """The cases, gathered by test function in the order of the suite."""
        points = {test["name"]: test["points"] for test in self.tests.values()}
        return [
            combine(name, points[name], [case for test, case in self.cases.items() if self.tests[test]["name"] == name])
            for name in points
        ]
