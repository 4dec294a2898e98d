"""Grades one submission of untrusted code: what is taken from it, exercise by exercise, in the sandbox.

Runs in the parent. Where an earlier exercise failed, the reference's functions stand in for later ones.
"""

import ast
import errno
import json
import os
import shutil
import threading
from collections.abc import Sequence
from dataclasses import asdict, replace
from functools import cache
from pathlib import Path

from grader.classroom.intake import IntakeError, Taken, as_handed_out, take
from grader.results import syllabus
from grader.results.failure import Failure
from grader.results.model import FINISHED, CaseResult, ExerciseResult, FunctionResult, Outcome, RunResult, combine
from grader.results.paths import EXERCISES, SOLUTIONS, TESTS
from grader.results.safe_files import scratch_folder
from grader.results.syllabus import Exercise
from grader.results.text import clean, title_of
from grader.run.runner import needs_not_met, run, suite_hash
from grader.sandbox import policy

REFERENCE, OWN = "_reference", "_submitted"  # added to the names of the files that a stand-in is put together from
STAND_IN = '''"""The reference's functions in the place of the student's.

All else that was handed in is there, too: a later exercise may use a helper of the student's own. It is looked for only
when it is asked for, since that file may not even import; and what it calls is the reference.
"""

from .{reference} import {functions}

__contract__ = {{function.__name__: function for function in ({functions},)}}


def __getattr__(name):
    if name.startswith("__") and name != "__all__":
        raise AttributeError(name)
    try:
        from . import {own} as own
    except BaseException:
        if name == "__all__":
            raise AttributeError(name) from None
        raise
    vars(own).update(__contract__)
    if name == "__all__":
        return getattr(own, name, [public for public in vars(own) if not public.startswith("_")])
    return getattr(own, name)
'''


class Guarded:
    """A submission in the sandbox, each exercise from a folder of its own: a grader.run.runner.Guard.

    stands_in: where an earlier exercise failed, the reference's functions take the place of its own for later ones
    deadline:  seconds for a test that names none of its own; None: the usual
    stopped:   once it is set, the run ends
    """

    def __init__(
        self,
        taken: Taken,
        stages: Path,
        built: policy.Walls,
        stands_in: bool,
        deadline: float | None = None,
        stopped: threading.Event | None = None,
    ):
        self.submitted, self.names, self._left = taken.place, taken.names, taken.left
        self.stages, self.scratch, self.stands_in = stages, stages.parent, stands_in
        self.deadline, self.stopped = deadline, stopped
        self.staged: list[Path] = []
        # known mistakes run on the trusted side, where nothing of the student's is imported
        self.among = SOLUTIONS if SOLUTIONS.is_dir() else EXERCISES
        self.options = ["-pgrader.sandbox.plugin", f"--walls={json.dumps(asdict(built))}"]
        self.options += [] if deadline is None else [f"--deadline={deadline}"]

    def waits_for(self, exercise: Exercise, states: dict[str, str]) -> list[str]:
        return [] if self.stands_in else needs_not_met(exercise, states)

    def known(self, exercise: Exercise) -> ExerciseResult | None:
        """Of a file that could not be taken, is missing, or is as it was handed out: there nobody has begun.

        raises: OSError for one that was taken and is gone again, which is no fault of the submission's
        """
        file = self.submitted / f"{exercise.name}.py"
        if file.name in self._left:
            return _blank(exercise, "error", "not run", f"cannot be taken: {self._left[file.name]}")
        if file.name not in self.names:
            return _blank(exercise, "failed", "not started", f"there is no {file.name}")
        if as_handed_out(file.name, file.read_bytes()):
            return _blank(exercise, "failed", "not started", f"{file.name} is as it was handed out")
        return None

    def stage(self, exercise: Exercise, states: dict[str, str]) -> tuple[Path, list[str]]:
        folder = self.stages / exercise.short / "exercises"
        folder.mkdir(parents=True)
        needed = _needed(exercise, syllabus.load())
        instead = [name for name, state in states.items() if name != exercise.name and state not in FINISHED]
        instead += [n for n in sorted(needed - states.keys()) if not (self.submitted / f"{n}.py").is_file()]
        instead = [name for name in instead if self.stands_in and (SOLUTIONS / f"{name}.py").is_file()]
        for name in self.names:
            shutil.copyfile(self.submitted / name, folder / name)
        for name in instead:
            _stand_in(name, folder)
        self.staged += [folder / f"{exercise.name}.py"] * (f"{exercise.name}.py" in self.names)
        for path in (self.stages, folder.parent, folder, *folder.iterdir()):
            path.chmod(0o755 if path.is_dir() else 0o644)  # whatever the umask is: a worker may have a user of its own
        return folder, [name for name in instead if name in needed]


def _stand_in(name: str, folder: Path) -> None:
    """Puts the reference's functions in the place of those of an exercise in this folder."""
    file, reference, own = (folder / f"{name}{added}.py" for added in ("", REFERENCE, OWN))
    if not file.is_file():
        shutil.copyfile(SOLUTIONS / file.name, file)
        return
    file.rename(own)
    shutil.copyfile(SOLUTIONS / file.name, reference)
    functions = ", ".join(_contract(name))
    text = STAND_IN.format(reference=reference.stem, own=own.stem, functions=functions)
    file.write_text(text, encoding="utf-8")


def _contract(name: str) -> list[str]:
    """The functions of an exercise that others may call, as its stub says."""
    tree = ast.parse((EXERCISES / f"{name}.py").read_text(encoding="utf-8"))
    return [node.name for node in tree.body if isinstance(node, ast.FunctionDef) and not node.name.startswith("_")]


def grade(
    submission: Path,
    exercises: Sequence[Exercise],
    seed: int,
    progress,
    built: policy.Walls,
    stands_in: bool = True,
    deadline: float | None = None,
    scratch: Path | None = None,
    before: Sequence[ExerciseResult] = (),
    stopped: threading.Event | None = None,
) -> RunResult:
    """The result of one submission; where it cannot even be taken, one without points that says why.

    scratch: for what is written meanwhile; None: where the system has such files
    before:  what an earlier run found of other exercises
    stopped: set by another thread, it ends this with Stopped
    raises:  StartError, Interrupted, Stopped; OSError where what was taken is gone before all is judged
    """
    blank = nothing(submission, exercises, seed, "not run", built.tier)
    with scratch_folder("kata-grade-", scratch) as work:
        stages = Path(work, "stages")
        os.chmod(work, 0o755)
        try:
            taken = take(submission, Path(work, "submitted"), file_names())
        except IntakeError as error:
            return nothing(submission, exercises, seed, str(error), built.tier)
        guard = Guarded(taken, stages, built, stands_in, deadline, stopped)
        result = run(exercises, guard.submitted, submission.name, seed, progress, guard, before)
        if gone := [file for file in guard.staged if not file.is_file()]:
            raise FileNotFoundError(errno.ENOENT, "was removed while it was graded", str(gone[0]))
        result = _without_paths(result, stages)
    result.sandbox, result.commit = built.tier, taken.commit
    result.submitted, result.contents, result.source = taken.submitted, taken.contents, clean(taken.source)
    for k in range(len(exercises)):
        if k >= len(result.exercises):
            result.exercises.append(blank.exercises[k])
        result.exercises[k] = complete(result.exercises[k])
    return result


def nothing(
    submission: Path, exercises: Sequence[Exercise], seed: int, why: str, tier: str, kind: str = "not run"
) -> RunResult:
    """A result without a point, in which every test function is there and says why.

    kind: "environment" where the submission is not to blame
    """
    result = RunResult(submission=submission.name, seed=seed, suite=suite_hash(), sandbox=tier)
    result.exercises = [_blank(exercise, "error", kind, why) for exercise in exercises]
    return result


def _blank(exercise: Exercise, outcome: Outcome, kind: str, why: str) -> ExerciseResult:
    """An exercise without a point: all its test functions say the same."""
    case = CaseResult(outcome=outcome, kind=kind, failure=Failure(summary=why))
    functions = [
        combine(name, points, [case], sentence) for name, (sentence, points) in expected(exercise.name).items()
    ]
    return ExerciseResult(
        name=exercise.name, title=exercise.title, track=exercise.track, points=exercise.points, functions=functions
    )


def file_names() -> list[str]:
    """Of the files that a submission consists of."""
    return [f"{exercise.name}.py" for exercise in syllabus.load()]


@cache
def expected(exercise: str) -> dict[str, tuple[str, int]]:
    """Title and points of the test functions of a suite, as its source says."""
    functions = {}
    for node in ast.parse((TESTS / f"test_{exercise}.py").read_text(encoding="utf-8")).body:
        if isinstance(node, ast.FunctionDef) and node.name.startswith("test_"):
            marks = [ast.unparse(mark) for mark in node.decorator_list]
            worth = [mark for mark in marks if mark.startswith("pytest.mark.points(")]
            points = int(worth[0].removeprefix("pytest.mark.points(").rstrip(")")) if worth else 0
            functions[node.name] = ((ast.get_docstring(node) or "").partition("\n")[0] or title_of(node.name), points)
    return functions


def complete(exercise: ExerciseResult) -> ExerciseResult:
    """With every test function that has to be there, and no other; credit for those that ran and passed."""
    there = {function.name: function for function in exercise.functions}
    why = exercise.problem or (f"waits for {', '.join(exercise.waits_for)}" if exercise.waits_for else "it did not run")
    functions: list[FunctionResult] = []
    for name, (sentence, points) in expected(exercise.name).items():
        case = CaseResult(outcome="error", kind="not run", failure=Failure(summary=why))
        function = there.get(name) or combine(name, points, [case], sentence)
        functions.append(replace(function, points=points, earned=points if function.outcome == "passed" else 0))
    return replace(exercise, functions=functions)


def _needed(exercise: Exercise, exercises: Sequence[Exercise]) -> set[str]:
    """All that an exercise builds on, directly or not."""
    by_name = {e.name: e for e in exercises}
    return {n for need in exercise.needs for n in {need, *_needed(by_name[need], exercises)}}


def _without_paths(result: RunResult, stages: Path) -> RunResult:
    """A staged file as the student knows it: exercises/ex01_round_trip.py."""
    renamed: dict[str, str] = {}
    for folder in sorted(stages.glob("*/exercises")):
        renamed |= {f"{folder}/": "exercises/", str(folder): "exercises"}
        renamed |= {own.stem: own.stem.removesuffix(OWN) for own in folder.glob(f"*{OWN}.py")}

    def as_known(text: str) -> str:
        for old, new in renamed.items():
            text = text.replace(old, new)
        return text

    return result.with_texts(as_known)
