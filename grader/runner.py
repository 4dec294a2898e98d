"""Runs exercises, each suite in a child process of its own, and owns every deadline.

An endless loop or a crash costs the test in which it happens: the child is replaced and the rest of the suite goes on.
This side never imports torch, so that the command answers at once.
"""

import hashlib
import shlex
import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Protocol

from grader import losses
from grader.children import Child, ChildGone, Children
from grader.losses import Loss
from grader.results import FINISHED, CaseResult, ExerciseResult, FunctionResult, RunResult, combine
from grader.syllabus import ROOT, Exercise

WALLS_SECONDS = 150  # more behind walls, where what is asked has deadlines of its own: for a worker to start (cell.py)
LOAD_SECONDS = 60  # for a suite to load
TEST_SECONDS = 20  # for a test without a pytest.mark.timeout of its own, as in grader/plugin.py
EXERCISE_SECONDS = 300
REPLACEMENTS = 1  # children an exercise gets after its first: a second loss is most likely the same mistake again


class Progress(Protocol):
    """Is told what goes on during a run."""

    def testing(self, exercise: Exercise, test: str, done: int, total: int) -> None: ...
    def finished(self, result: ExerciseResult) -> None: ...


class Interrupted(Exception):
    """Ctrl-C: `result` holds what was finished."""

    def __init__(self, result: RunResult):
        super().__init__("stopped")
        self.result = result


class Guard(Protocol):
    """Sees to it that a submission runs behind walls."""

    options: list[str]  # for grader.plugin
    scratch: Path  # a folder for temporary files
    deadline: float | None  # seconds for a test that names none of its own; None: the usual
    stopped: threading.Event | None  # once it is set, the run ends

    def waits_for(self, exercise: Exercise, states: dict[str, str]) -> list[str]:
        """The exercises without which this one is not run, after others came out like that."""
        ...

    def known(self, exercise: Exercise) -> ExerciseResult | None:
        """What comes of this exercise, where that is clear without running it."""
        ...

    def stage(self, exercise: Exercise, states: dict[str, str]) -> tuple[Path, list[str]]:
        """The folder to run for this exercise, and the exercises that the reference stands in for there."""
        ...


def run(
    exercises: Sequence[Exercise],
    submission: Path,
    shown: str,
    seed: int,
    progress: Progress,
    guard: Guard | None = None,
    before: Sequence[ExerciseResult] = (),
) -> RunResult:
    """Checks every exercise that waits for no other, in order. A need of which nothing is known counts as met.

    submission: the folder to check; `shown` is its name in the result
    guard:      for a submission that nobody vouches for
    before:     other exercises, as an earlier run found them
    raises:     StartError, Interrupted; Stopped where the guard says so
    """
    result = RunResult(submission=shown, seed=seed, suite=suite_hash())
    waits_for = guard.waits_for if guard else needs_not_met
    states: dict[str, str] = {exercise.name: exercise.state for exercise in before}
    try:
        with Children(seed, guard.scratch if guard else None, guard.stopped if guard else None) as children:
            for index, exercise in enumerate(exercises):
                if waiting := waits_for(exercise, states):
                    outcome = _result(exercise, waits_for=waiting)
                elif guard and (known := guard.known(exercise)):
                    outcome = known
                else:
                    child = children.take()
                    result.host = child.host
                    states[exercise.name] = "passed"  # for the moment: if it does, which one is next?
                    if any(_will_run(later, states, waits_for, guard) for later in exercises[index + 1 :]):
                        children.prepare()
                    if exercise.timed:
                        children.settle()
                    folder, instead = guard.stage(exercise, states) if guard else (submission, [])
                    job = _job(exercise, folder, shown, seed, guard.options if guard else [])
                    seconds = (guard and guard.deadline) or TEST_SECONDS
                    outcome = _Suite(exercise, job, progress, seconds).run(child, children)
                    outcome.stood_in = instead
                states[exercise.name] = outcome.state
                result.exercises.append(outcome)
                progress.finished(outcome)
    except KeyboardInterrupt:
        raise Interrupted(result) from None
    return result


def _will_run(exercise: Exercise, states: dict[str, str], waits_for: Callable, guard: Guard | None) -> bool:
    return not waits_for(exercise, states) and not (guard and guard.known(exercise))


def suite_hash() -> str:
    """Of the graded suites, their helpers and the syllabus: names and contents."""
    digest = hashlib.sha256()
    for file in [*sorted((ROOT / "tests").glob("*.py")), ROOT / "exercises" / "syllabus.toml"]:
        digest.update(file.name.encode() + b"\0" + file.read_bytes() + b"\0")
    return digest.hexdigest()


def needs_not_met(exercise: Exercise, states: dict[str, str]) -> list[str]:
    return [need for need in exercise.needs if states.get(need, "passed") not in FINISHED]


def _result(exercise: Exercise, **rest) -> ExerciseResult:
    return ExerciseResult(
        name=exercise.name, title=exercise.title, track=exercise.track, points=exercise.points, **rest
    )


def _job(exercise: Exercise, submission: Path, shown: str, seed: int, options: list[str]) -> dict:
    suite = str(exercise.suite.relative_to(ROOT))
    debug = f".venv/bin/python -m pytest {suite}"
    if submission != ROOT / "exercises":
        debug += f" --submission {shlex.quote(shown)}"
    return {"suite": suite, "submission": str(submission), "seed": seed, "debug": debug, "options": options}


class _Suite:
    """One exercise under test: what was collected, and what came of it so far.

    seconds: for a test that names none of its own
    """

    def __init__(self, exercise: Exercise, job: dict, progress: Progress, seconds: float = TEST_SECONDS):
        self.exercise, self.job, self.progress, self.seconds = exercise, job, progress, seconds
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

    def _work(self, child: Child, children: Children) -> Loss | None:
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
            loss = losses.crashed(children.end(child), stack, self.job["submission"])
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
                self._allow(self.tests[test]["seconds"] or self.seconds)
                self.progress.testing(self.exercise, self.tests[test]["name"], len(self.cases), len(self.tests))
            case {"event": "finished", "id": test, "result": result}:
                file = losses.shorten(result["file"]) if result["file"] else None
                self.cases[test] = CaseResult(**result | {"case": self.tests[test]["case"], "file": file})
                self.running = None
                self._allow(TEST_SECONDS)

    def _allow(self, seconds: float) -> None:
        self.since = time.monotonic()
        self.until = min(self.since + seconds + (WALLS_SECONDS if self.job["options"] else 0), self.end)

    def _stopped(self, code: int, stderr: str) -> Loss | None:
        """pytest came to an end: of the suite, hopefully."""
        if not self.tests:
            reason = (stderr.strip().splitlines() or [f"pytest's exit code {code}"])[-1]
            self.problem = self.problem or f"{self.job['suite']} does not run: {reason}"
        return Loss("crashed", "the test run was stopped from inside") if self._left() else None

    def _overdue(self, stack: str) -> Loss:
        if self.until == self.end:
            return losses.overdue(stack, self.job["submission"], EXERCISE_SECONDS, "all of this exercise's tests")
        return losses.overdue(stack, self.job["submission"], self.until - self.since)

    def _charge(self, loss: Loss) -> None:
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
            file=losses.shorten(place.file if place else f"{self.job['submission']}/{self.exercise.name}.py"),
            line=place.line if place else None,
            seconds=round(time.monotonic() - self.since, 3),
        )
        for test in self._left():
            if self.tests[test]["name"] == lost["name"]:
                self.cases[test] = replace(case, seconds=0.0)
        self.running = None

    def _hopeless(self, loss: Loss) -> bool:
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
