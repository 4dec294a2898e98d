"""Runs exercises, each suite in a child process of its own, and owns every deadline.

An endless loop or a crash costs the test in which it happens: the child is replaced and the rest of the suite goes on.
Runs in the parent, which never imports torch, so that a command answers at once.
"""

import hashlib
import shlex
import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Protocol

from grader.results import process_failure
from grader.results.failure import Failure, Match
from grader.results.model import (
    FINISHED,
    CaseResult,
    ExerciseResult,
    FunctionResult,
    RunResult,
    case_of,
    combine,
)
from grader.results.paths import EXERCISES, ROOT, TESTS, shortened
from grader.results.process_failure import ProcessFailure
from grader.results.syllabus import Exercise
from grader.run.suite_process import Child, ChildGone, Children

TEST_SECONDS = 20  # of processor time for a test without a pytest.mark.timeout of its own, as in grader/suite/plugin.py
LOAD_SECONDS = 60  # for a suite to load
EXERCISE_SECONDS = 300
BUSY = 4  # times as long may pass by the clock: a busy machine is no endless loop
WORKER_SECONDS = 150  # by the clock, for a sandboxed worker to start in a test, and to answer that it is overdue
DIAGNOSIS_SECONDS = 2.0  # by the clock: longer a verdict is not kept waiting
MOST_REPLACEMENTS = 4  # children an exercise gets after its first


class Progress(Protocol):
    """Is told what goes on during a run."""

    def testing(self, exercise: Exercise, test: str, done: int, total: int) -> None: ...
    def within(self, part: str) -> None: ...
    def finished(self, result: ExerciseResult) -> None: ...


class Interrupted(Exception):
    """Ctrl-C: `result` holds what was finished."""

    def __init__(self, result: RunResult):
        super().__init__("stopped")
        self.result = result


class Guard(Protocol):
    """Sees to it that a submission runs in the sandbox."""

    options: list[str]  # for grader.sandbox.plugin
    scratch: Path  # a folder for temporary files
    deadline: float | None  # seconds for a test that names none of its own; None: the usual
    stopped: threading.Event | None  # once it is set, the run ends
    among: Path  # the folder whose other exercises a known mistake is put among, in a diagnosis

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
    quick_first: bool = False,
) -> RunResult:
    """Checks every exercise that waits for no other, in order. A need of which nothing is known counts as met.

    submission: the folder to check; `shown` is its name in the result
    guard:      for untrusted code
    before:     other exercises, as an earlier run found them
    quick_first: a slow test runs after the quick ones, and not at all while one of them fails for the same function
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
                    # a second child: for the next exercise, or for the failures of one beside which nothing may start
                    if exercise.timed or any(_will_run(e, states, waits_for, guard) for e in exercises[index + 1 :]):
                        children.prepare()
                    if exercise.timed:
                        children.settle()
                    folder, instead = guard.stage(exercise, states) if guard else (submission, [])
                    job = _job(exercise, folder, shown, seed, guard.options if guard else [])
                    job["quick_first"] = quick_first
                    outcome = _Suite(exercise, job, progress, children, guard).run(child)
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
    for file in [*sorted(TESTS.glob("*.py")), EXERCISES / "syllabus.toml"]:
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
    if submission != EXERCISES:
        debug += f" --submission {shlex.quote(shown)}"
    job = {"kind": "suite", "suite": suite, "submission": str(submission), "seed": seed, "debug": debug}
    return job | {"options": options, "observes": True}


@dataclass
class _Deadline:
    """Until when one thing has to be done: by the clock, and by the child's processor time (infinite: not asked)."""

    seconds: float
    since: float
    until: float
    spent: float


class _Suite:
    """One exercise under test: what was collected, and what came of it so far."""

    def __init__(self, exercise: Exercise, job: dict, progress: Progress, children: Children, guard: Guard | None):
        self.exercise, self.job, self.progress, self.children, self.guard = exercise, job, progress, children, guard
        self.test_seconds = (guard and guard.deadline) or TEST_SECONDS
        self.tests: dict[str, dict] = {}  # as grader.suite.suite_main describes them, by their id
        self.cases: dict[str, CaseResult] = {}
        self.observations: dict[str, str] = {}  # by the id of a case that failed, the first of its function: its file
        self.failed: set[str] = set()  # functions of the contract that a test failed for
        self.running: str | None = None
        self.problem = ""
        self.end = time.monotonic() + BUSY * EXERCISE_SECONDS
        self.spent_before = 0.0  # processor time of the children before this one
        self.deadline: _Deadline

    def run(self, child: Child) -> ExerciseResult:
        lost = self._work(child)
        places = set()
        for _ in range(MOST_REPLACEMENTS):
            # twice in the same function: it is the same mistake, and would be in all other tests
            if not lost or not self._left() or self._hopeless(lost) or lost.place and lost.place[2] in places:
                break
            places |= {lost.place[2]} if lost.place else set()
            lost = self._work(self.children.take())
        for test in self._left() if lost else ():
            failure = Failure(summary="not run: an earlier test did not finish")
            self.cases[test] = CaseResult(
                outcome=lost.outcome, kind="not run", failure=failure, case=self.tests[test]["case"]
            )
        if self.observations and not self.problem:
            self._diagnose()
        return _result(self.exercise, problem=self.problem, functions=[] if self.problem else self._functions())

    def _work(self, child: Child) -> ProcessFailure | None:
        """Lets child run what is left, and ends it; returns how it was lost, None when it came to the end."""
        child.send(self.job | {"done": sorted(self.cases), "failed": sorted(self.failed)})
        self._allow(child, LOAD_SECONDS)
        try:
            while (event := child.receive(self.deadline.until, self.deadline.spent)) and event["event"] != "done":
                self._note(event, child)
            lost = self._stopped(event["code"], child.stderr()) if event else self._overdue(child)
            self.spent_before += child.processor_seconds()
            self.children.end(child)
        except ChildGone:
            stack = child.stderr()
            lost = process_failure.crashed(self.children.end(child), stack, self.job["submission"])
        if lost:
            self._charge(lost)
        return lost

    def _note(self, event: dict, child: Child) -> None:
        match event:
            case {"event": "collected", "tests": tests}:
                self.tests = {test["id"]: test for test in tests}
                self._allow(child, TEST_SECONDS)
            case {"event": "broken", "message": message}:
                self.problem = f"{self.job['suite']} does not load: {message}"
            case {"event": "started", "id": test}:
                self.running = test
                self._allow(child, self.tests[test]["seconds"] or self.test_seconds)
                self.progress.testing(self.exercise, self.tests[test]["title"], len(self.cases), len(self.tests))
            case {"event": "within", "part": part}:
                self.progress.within(part)
            case {"event": "finished", "id": test, "result": result, "observation": file, "failed": function}:
                case = case_of(result)
                self.failed |= {function} - {""}
                case.file = shortened(case.file) if case.file else None
                self.cases[test] = case
                if file and self._is_first(test):
                    self.observations[test] = file
                    if not self.exercise.timed:
                        self.children.prepare()  # imports what a diagnosis needs while the suite goes on
                self.running = None
                self._allow(child, TEST_SECONDS)

    def _is_first(self, test: str) -> bool:
        """Whether no other case of its function failed before; each law counts for itself."""
        alike = [t for t in self.observations if self.tests[t]["name"] == self.tests[test]["name"]]
        return self.cases[test].is_law or not alike

    def _allow(self, child: Child, seconds: float) -> None:
        now = time.monotonic()
        if self.guard:  # the time of the student's own processes is kept where they are (sandbox/worker_client.py)
            self.deadline = _Deadline(seconds, now, min(now + BUSY * seconds + WORKER_SECONDS, self.end), float("inf"))
            return
        taken = child.processor_seconds()
        spent = min(taken + seconds, EXERCISE_SECONDS - self.spent_before)
        self.deadline = _Deadline(seconds, now, min(now + BUSY * seconds, self.end), spent)

    def _stopped(self, code: int, stderr: str) -> ProcessFailure | None:
        """pytest came to an end: of the suite, hopefully."""
        if not self.tests:
            reason = (stderr.strip().splitlines() or [f"pytest's exit code {code}"])[-1]
            self.problem = self.problem or f"{self.job['suite']} does not run: {reason}"
        return ProcessFailure("crashed", "the test run was stopped from inside") if self._left() else None

    def _overdue(self, child: Child) -> ProcessFailure:
        stack, folder = child.stack(), self.job["submission"]
        spent = child.processor_seconds()
        by_clock = time.monotonic() >= self.end
        if self.spent_before + spent >= EXERCISE_SECONDS or by_clock:
            seconds = EXERCISE_SECONDS * (BUSY if by_clock else 1)
            return process_failure.overdue(stack, folder, seconds, "all of this exercise's tests", waited=by_clock)
        waited = spent < self.deadline.spent
        seconds = BUSY * self.deadline.seconds if waited else self.deadline.seconds
        return process_failure.overdue(stack, folder, seconds, waited=waited)

    def _charge(self, lost: ProcessFailure) -> None:
        """Puts a loss down to the test that was running; another child need not try that function's other cases."""
        if not self.tests:
            self.problem = self.problem or f"{self.job['suite']} does not load: {lost.summary}"
        if self.running is None:
            return
        test = self.tests[self.running]
        place = lost.frames[0] if lost.frames else None
        case = CaseResult(
            outcome=lost.outcome,
            failure=replace(lost.failure, case=test["case"]),
            case=test["case"],
            file=shortened(place.file if place else f"{self.job['submission']}/{self.exercise.name}.py"),
            line=place.line if place else None,
            seconds=round(time.monotonic() - self.deadline.since, 3),
        )
        self.cases[test["id"]] = case
        for other in self._left():
            if self.tests[other]["name"] == test["name"]:
                self.cases[other] = replace(case, seconds=0.0, case=self.tests[other]["case"])
        self.running = None

    def _hopeless(self, lost: ProcessFailure) -> bool:
        """Whether every other test would end the same way, or there is no time left for them."""
        return lost.importing or self.spent_before >= EXERCISE_SECONDS or time.monotonic() > self.end

    def _left(self) -> list[str]:
        return [test for test in self.tests if test not in self.cases]

    # ---- which known mistakes the failures look like -----------------------------------------------------------------

    def _diagnose(self) -> None:
        """Lets a second child compare the failures with known mistakes, while a verdict may be kept waiting."""
        until = time.monotonic() + DIAGNOSIS_SECONDS
        child = self.children.take_soon(until)
        if child is None:
            return
        child.send(self._diagnosis_job())
        try:
            while (event := child.receive(until)) and event["event"] != "done":
                if event["event"] == "match":
                    matches = [Match(**match) for match in event["matches"]]
                    self.cases[event["id"]].failure.matches = matches
        except ChildGone:  # a known mistake that ends its process: what was found before it counts
            pass
        finally:
            self.children.end(child)

    def _diagnosis_job(self) -> dict:
        tests = {name: self._cases_of(name) for name in self._names()}
        passed = {name: [id_ for id_ in ids if self.cases[id_].outcome == "passed"] for name, ids in tests.items()}
        whole = [name for name, ids in tests.items() if len(passed[name]) == len(ids)]
        failed = [
            {
                "id": test,
                "function": (name := self.tests[test]["name"]),
                "file": file,
                "seconds": self.cases[test].seconds,
                "passed": passed[name],
            }
            for test, file in self.observations.items()
        ]
        among = self.guard.among if self.guard else Path(self.job["submission"])
        job = {"kind": "diagnosis", "exercise": self.exercise.name, "failed": failed, "passed_functions": whole}
        return job | {"among": str(among), "seed": self.job["seed"], "seconds": DIAGNOSIS_SECONDS}

    def _names(self) -> list[str]:
        return list(dict.fromkeys(test["name"] for test in self.tests.values()))

    def _cases_of(self, name: str) -> list[str]:
        return [id_ for id_, test in self.tests.items() if test["name"] == name]

    def _functions(self) -> list[FunctionResult]:
        """The cases, gathered by test function in the order of the suite."""
        results = []
        for name in self._names():
            tests = self._cases_of(name)
            first = self.tests[tests[0]]
            cases = [self.cases[test] for test in tests if test in self.cases]
            results.append(combine(name, first["points"], cases, first["title"]))
        return results
