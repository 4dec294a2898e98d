"""What an exception that ended a test means to a learner: the outcome, and the failure as data."""

from dataclasses import replace
from pathlib import Path
from traceback import FrameSummary

import pytest

from grader.results.failure import Failure, Frame
from grader.results.model import CaseResult
from grader.results.process_failure import ProcessFailure
from grader.suite.load_exercise import LoadError, message_of, shown
from grader.suite.student import Origin, Student, origin
from llm.checkpoint import CheckpointError
from llm.corpus import CorpusError

RAISED_LINES = 3  # of an exception's message: torch says what is missing in the second


class WrongAnswer(AssertionError):
    """A law of the suite does not hold; `failure` says which call showed it."""

    def __init__(self, failure: Failure):
        super().__init__(f"\n{failure.text()}")
        self.failure = failure


class Undecided(pytest.skip.Exception):
    """This machine cannot judge this: neither passed nor failed."""


class ProcessLost(Exception):
    """The process with the student's code came to its end during a test.

    kind: "not run" where it had ended before
    """

    def __init__(self, why: ProcessFailure, kind: str = ""):
        super().__init__(why.summary)
        self.why, self.kind = why, kind


class SuiteError(Exception):
    """A suite's own inputs are not what it needs: no fault of the student's."""


def judge(error: BaseException | None, student: Student | None) -> CaseResult:
    """What a test that ended with this error, or with none, says."""
    if error is None:
        return CaseResult(outcome="passed")
    came_from = origin(error)
    file, line = student.location() if student else (None, None)
    where = {"file": str(file) if file else None, "line": line}
    if isinstance(error, ProcessLost):
        if error.why.frames:
            where = {"file": error.why.frames[0].file, "line": error.why.frames[0].line}
        return CaseResult(outcome=error.why.outcome, kind=error.kind, failure=error.why.failure, **where)
    if isinstance(error, Undecided):
        return CaseResult(outcome="undecided", failure=Failure(summary=str(error)), **where)
    if isinstance(error, LoadError):
        where = {"file": str(error.file or file), "line": error.line or line}
        outcome = "error" if error.kind == "import" else "failed"
        return CaseResult(outcome=outcome, kind=error.kind, failure=error.failure, **where)
    if isinstance(error, CheckpointError | CorpusError) and came_from is None:
        return CaseResult(outcome="error", kind="environment", failure=Failure(summary=str(error)), **where)
    if came_from:
        where = {"file": str(came_from.file or file), "line": came_from.line or line}
        if isinstance(error, NotImplementedError):
            stub = Failure(summary=f"`{came_from.function}` is still a stub")
            return CaseResult(outcome="failed", kind="not started", failure=stub, **where)
        return CaseResult(outcome="failed", kind="crashed", failure=_crash(error, came_from), **where)
    if hasattr(error, "_kata_frames"):  # a worker's answer to what calls none of its functions
        summary = "the process with this code raised an error of its own"
        return CaseResult(
            outcome="failed", kind="crashed", failure=Failure(summary=summary, raised=raised(error)), **where
        )
    if isinstance(error, WrongAnswer):
        return CaseResult(outcome="failed", kind="wrong", failure=replace(error.failure), **where)
    if isinstance(error, pytest.fail.Exception) and str(error).startswith("Timeout"):  # pytest-timeout, in plain pytest
        return CaseResult(outcome="timeout", failure=Failure(summary=f"still running: {error}"), **where)
    what = "skipped, which earns nothing" if isinstance(error, pytest.skip.Exception) else "the suite itself stumbled"
    return CaseResult(outcome="failed", kind="suite", failure=Failure(summary=f"{what}: {raised(error)}"), **where)


def raised(error: BaseException) -> str:
    """Kind and message of an exception, in one line."""
    return " ".join(line.strip() for line in message_of(error).splitlines()[:RAISED_LINES])[:300]


def _crash(error: BaseException, came_from: Origin) -> Failure:
    return Failure(
        summary=f"`{came_from.function}` raised an error",
        called=came_from.call,
        raised=raised(error),
        frames=[_frame(frame) for frame in came_from.frames],
        notes=[str(note) for note in getattr(error, "__notes__", [])],
    )


def _frame(frame: FrameSummary) -> Frame:
    text = frame.line or ""
    return Frame(file=shown(Path(frame.filename)), line=frame.lineno or 0, function=frame.name, text=text)
