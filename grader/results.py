"""One run as data: what every view of it (board, JSON, platform files) is made of.

The only place that decides what the cases of a test function add up to, and what state an exercise is in.
"""

import contextlib
import json
import os
import re
import tempfile
import unicodedata
from collections.abc import Iterable
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, Literal

Outcome = Literal["passed", "undecided", "failed", "timeout", "crashed", "error"]
State = Outcome | Literal["not started", "waiting"]

BY_SEVERITY: tuple[Outcome, ...] = ("passed", "undecided", "failed", "timeout", "crashed", "error")
FINISHED: tuple[State, ...] = ("passed", "undecided")  # block neither exit code 0 nor a later exercise
FORMAT = 1  # of the JSON


@dataclass(kw_only=True)
class CaseResult:
    """One run of a test function: all there is to it, or one of its parameter sets."""

    outcome: Outcome
    kind: str = ""  # of what went wrong: not started, wrong, crashed, import, environment, suite, not run
    message: str = ""
    hint: str = ""
    case: str = ""  # which parameters, "int4" for instance
    file: str | None = None  # where the learner should look
    line: int | None = None
    seconds: float = 0.0
    measured: dict[str, float] = field(default_factory=dict)
    misconceptions: list[str] = field(default_factory=list)  # known wrong answers that fail in the same way
    output: str = ""  # what the learner's code printed

    def __post_init__(self):
        """What a learner's code says is text in every view, and no order to a terminal."""
        self.message, self.hint, self.output = clean(self.message), clean(self.hint), clean(self.output)
        self.file = self.file and clean(self.file)


@dataclass(kw_only=True)
class FunctionResult(CaseResult):
    """A test function: the worst of its cases, the time and the figures of all of them, and its points."""

    name: str
    points: int
    earned: int

    @property
    def title(self) -> str:
        return title(self.name)

    @property
    def state(self) -> str:
        """The outcome, in the words a learner needs."""
        return self.kind if self.kind in ("not started", "not run") else self.outcome


@dataclass(kw_only=True)
class ExerciseResult:
    name: str
    title: str
    track: str
    points: int
    waits_for: list[str] = field(default_factory=list)
    stood_in: list[str] = field(default_factory=list)  # earlier exercises that the reference took the place of
    problem: str = ""  # why there is nothing to judge, where that is not the learner's doing
    functions: list[FunctionResult] = field(default_factory=list)

    def __post_init__(self):
        self.problem = clean(self.problem)

    @property
    def earned(self) -> int:
        return sum(function.earned for function in self.functions)

    @property
    def seconds(self) -> float:
        return round(sum(function.seconds for function in self.functions), 3)

    @property
    def measured(self) -> dict[str, float]:
        """The figures of what was right; one that a failed test left is in its message."""
        right = [function for function in self.functions if function.outcome in FINISHED]
        return {name: value for function in right for name, value in function.measured.items()}

    @property
    def state(self) -> State:
        if self.waits_for:
            return "waiting"
        if self.problem or not self.functions:
            return "error"
        unfinished = [function for function in self.functions if function.outcome not in FINISHED]
        passed = any(function.outcome == "passed" for function in self.functions)
        if not unfinished:
            return "passed" if passed else "undecided"
        if not passed and all(function.state == "not started" for function in unfinished):
            return "not started"
        return _worst(unfinished).outcome


@dataclass(kw_only=True)
class Host:
    """The machine, as far as it explains a measured figure."""

    cpu: str
    cores: int
    threads: int  # that torch uses
    system: str
    python: str
    torch: str
    int8_dot_products: bool
    quantized_engines: list[str]


@dataclass(kw_only=True)
class RunResult:
    submission: str
    seed: int
    suite: str  # a hash of the graded suites: equal hash and seed, equal verdict
    host: Host | None = None
    sandbox: str = ""  # what the code ran behind; empty: nothing, on the learner's own machine
    commit: str = ""  # of the submission, where it is a git work tree
    submitted: str = ""  # when, in UTC, as the submission itself says: of its commit, or of its newest file
    contents: str = ""  # a hash of the files that were taken from it
    source: str = ""  # from which of its folders, and which others have such files
    exercises: list[ExerciseResult] = field(default_factory=list)

    @property
    def points(self) -> int:
        return sum(exercise.points for exercise in self.exercises)

    @property
    def earned(self) -> int:
        return sum(exercise.earned for exercise in self.exercises)

    @property
    def functions(self) -> list[FunctionResult]:
        return [function for exercise in self.exercises for function in exercise.functions]

    @property
    def measured(self) -> dict[str, float]:
        return {name: value for exercise in self.exercises for name, value in exercise.measured.items()}

    @property
    def broken(self) -> str:
        """What is wrong with the installation rather than with the submission; empty when nothing is."""
        problems = [exercise.problem for exercise in self.exercises if exercise.problem]
        problems += [function.message for function in self.functions if function.kind == "environment"]
        return next(iter(problems), "")

    def to_json(self) -> str:
        """Everything, with the states and totals that a reader would otherwise have to derive."""
        record = {"format": FORMAT} | asdict(self) | {"points": self.points, "earned": self.earned}
        for exercise, entry in zip(self.exercises, record["exercises"], strict=True):
            entry |= {"state": exercise.state, "earned": exercise.earned, "seconds": exercise.seconds}
        return json.dumps(record, indent=2) + "\n"

    @classmethod
    def from_json(cls, text: str) -> "RunResult":
        """raises: ValueError for text that to_json did not write"""
        record = json.loads(text)
        if not isinstance(record, dict) or record.get("format") != FORMAT:
            raise ValueError(f"not a result of format {FORMAT}: write one with nox -s check -- --json FILE")
        record["host"] = record["host"] and _build(Host, record["host"])
        for entry in record["exercises"]:
            entry["functions"] = [_build(FunctionResult, function) for function in entry["functions"]]
        record["exercises"] = [_build(ExerciseResult, entry) for entry in record["exercises"]]
        return _build(cls, record)


def combine(name: str, points: int, cases: Iterable[CaseResult]) -> FunctionResult:
    """What the cases of one test function add up to: its points are earned when every case passed."""
    cases = list(cases)
    worst = _worst(cases)
    return FunctionResult(
        **asdict(worst)
        | {
            "name": name,
            "points": points,
            "earned": points if worst.outcome == "passed" else 0,
            "seconds": round(sum(case.seconds for case in cases), 3),
            "measured": {figure: value for case in cases for figure, value in case.measured.items()},
        }
    )


def clean(text: str) -> str:
    """text without control characters and what else nobody can read, but for newlines and tabs."""
    text = re.sub(r"\x1b\[[0-9;?]*[A-Za-z]", "", text)
    return "".join(c for c in text if c in "\n\t" or unicodedata.category(c)[0] != "C")


def title(test: str) -> str:
    """test_ties_go_to_the_even_code -> ties go to the even code"""
    return test.removeprefix("test_").replace("_", " ")


def short_name(exercise: str) -> str:
    """ex03_error_growth -> ex03: what a learner types"""
    return exercise.partition("_")[0]


def write_whole(file: Path, text: str) -> None:
    """All of it or nothing; a link of that name is replaced, not followed."""
    data = text.encode("utf-8", "backslashreplace")  # what a student's code says may hold halves of characters
    with tempfile.NamedTemporaryFile(dir=file.parent, prefix=file.name, delete=False) as partial:
        pass  # a name that nobody could have put a link at
    try:
        Path(partial.name).write_bytes(data)
        os.chmod(partial.name, 0o644)
        os.replace(partial.name, file)
    except BaseException:  # Ctrl-C, too
        with contextlib.suppress(OSError):
            os.unlink(partial.name)
        raise


def _worst(cases: list) -> CaseResult:
    return max(cases, key=lambda case: BY_SEVERITY.index(case.outcome))  # the first of the worst


def _build(kind: type, record: dict[str, Any]) -> Any:
    """kind from the keys that are its fields: those that to_json derived are left out."""
    return kind(**{name: record[name] for name in kind.__dataclass_fields__})
