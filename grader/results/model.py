"""One run as data: what every view of it (board, JSON, platform files) is made of.

The only place that decides what the cases of a test function add up to, and what state an exercise is in.
"""

import json
from collections.abc import Callable, Iterable
from dataclasses import asdict, dataclass, field, replace
from typing import Any, Literal

from grader.results.failure import Failure, Frame, Match
from grader.results.text import clean, title_of

Outcome = Literal["passed", "undecided", "failed", "timeout", "crashed", "error"]
State = Outcome | Literal["not started", "waiting"]

BY_SEVERITY: tuple[Outcome, ...] = ("passed", "undecided", "failed", "timeout", "crashed", "error")
FINISHED: tuple[State, ...] = ("passed", "undecided")  # block neither exit code 0 nor a later exercise
FORMAT = 2  # of the JSON: 1 had a failure as one text


@dataclass(kw_only=True)
class CaseResult:
    """One run of a test function: all there is to it, or one of its parameter sets.

    kind:    of what went wrong: not started, wrong, crashed, import, environment, suite, not run
    failure: why it did not pass
    case:    which parameters, "int4" for instance, or which law, as a sentence
    file, line: where the learner should look
    output:  what the learner's code printed
    """

    outcome: Outcome
    kind: str = ""
    failure: Failure | None = None
    case: str = ""
    file: str | None = None
    line: int | None = None
    seconds: float = 0.0
    measured: dict[str, float] = field(default_factory=dict)
    output: str = ""

    def __post_init__(self):
        self.output, self.file = clean(self.output), self.file and clean(self.file)

    @property
    def state(self) -> str:
        """The outcome, in the words a learner needs."""
        return self.kind if self.kind in ("not started", "not run") else self.outcome

    @property
    def misconceptions(self) -> list[str]:
        """The names of the known wrong answers that fail in the same way."""
        return [match.name for match in self.failure.matches] if self.failure else []

    @property
    def reason(self) -> str:
        """Why it did not pass, in one line."""
        return self.failure.first_line if self.failure else self.state

    @property
    def is_law(self) -> bool:
        """Whether the case is a law of its own, a sentence, and no parameter set."""
        return self.case.endswith(".")


@dataclass(kw_only=True)
class FunctionResult(CaseResult):
    """A test function: the worst of its cases, the time and the figures of all of them, and its points."""

    name: str
    title: str  # a sentence
    points: int
    earned: int
    laws: list[CaseResult] = field(default_factory=list)  # the cases that are laws of their own


@dataclass(kw_only=True)
class ExerciseResult:
    name: str
    title: str
    track: str
    points: int
    waits_for: list[str] = field(default_factory=list)
    passed_before: bool = False  # it waits, and passed earlier on this machine with the same code
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
        problems += [function.reason for function in self.functions if function.kind == "environment"]
        return next(iter(problems), "")

    def to_json(self) -> str:
        """Everything, with the states and totals that a reader would otherwise have to derive."""
        record = {"format": FORMAT} | asdict(self) | {"points": self.points, "earned": self.earned}
        for exercise, entry in zip(self.exercises, record["exercises"], strict=True):
            entry |= {"state": exercise.state, "earned": exercise.earned, "seconds": exercise.seconds}
        return json.dumps(record, indent=2) + "\n"

    @classmethod
    def from_json(cls, text: str) -> "RunResult":
        """raises: ValueError for text that to_json did not write, or an earlier version's"""
        record = json.loads(text)
        found = record.get("format") if isinstance(record, dict) else None
        if found != FORMAT:
            what = f"a result of format {found}" if found else "no result"
            raise ValueError(f"{what}, and this version reads format {FORMAT}: grade again with this version")
        return run_of(record)

    def with_texts(self, change: Callable[[str], str]) -> "RunResult":
        """A copy in which every text is what `change` makes of it."""
        return run_of(_map_texts(asdict(self), change))


def combine(name: str, points: int, cases: Iterable[CaseResult], title: str = "") -> FunctionResult:
    """What the cases of one test function add up to: its points are earned when every case passed."""
    cases = list(cases)
    worst = _worst(cases)
    return FunctionResult(
        **{key: getattr(worst, key) for key in CaseResult.__dataclass_fields__}
        | {
            "name": name,
            "title": title or title_of(name),
            "points": points,
            "earned": points if worst.outcome == "passed" else 0,
            "seconds": round(sum(case.seconds for case in cases), 3),
            "measured": {figure: value for case in cases for figure, value in case.measured.items()},
            "laws": [replace(case, output="", measured={}) for case in cases if case.is_law],
        }
    )


def case_of(record: dict[str, Any]) -> CaseResult:
    """A case from its record: as JSON has it, or asdict."""
    return _build(CaseResult, record | {"failure": failure_of(record.get("failure"))})


def failure_of(record: dict[str, Any] | None) -> Failure | None:
    if record is None:
        return None
    parts = {"matches": [_build(Match, m) for m in record["matches"]]}
    parts |= {"frames": [_build(Frame, f) for f in record["frames"]]}
    return _build(Failure, record | parts)


def run_of(record: dict[str, Any]) -> RunResult:
    """A run from its record."""
    exercises = []
    for entry in record["exercises"]:
        functions = []
        for function in entry["functions"]:
            parts = {"failure": failure_of(function["failure"]), "laws": [case_of(c) for c in function["laws"]]}
            functions.append(_build(FunctionResult, function | parts))
        exercises.append(_build(ExerciseResult, entry | {"functions": functions}))
    host = record["host"] and _build(Host, record["host"])
    return _build(RunResult, record | {"host": host, "exercises": exercises})


def _worst(cases: list) -> CaseResult:
    return max(cases, key=lambda case: BY_SEVERITY.index(case.outcome))  # the first of the worst


def _build(kind: type, record: dict[str, Any]) -> Any:
    """kind from the keys that are its fields: those that to_json derived are left out."""
    return kind(**{name: record[name] for name in kind.__dataclass_fields__ if name in record})


def _map_texts(value: Any, change: Callable[[str], str]) -> Any:
    if isinstance(value, str):
        return change(value)
    if isinstance(value, dict):
        return {_map_texts(key, change): _map_texts(part, change) for key, part in value.items()}
    if isinstance(value, list):
        return [_map_texts(part, change) for part in value]
    return value
