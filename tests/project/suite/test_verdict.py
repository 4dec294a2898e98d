"""What the end of a test means: whose fault it is, and where a learner should look."""

import pytest
import torch

from grader.results.failure import Failure
from grader.results.process_failure import crashed
from grader.suite.verdict import ProcessLost, SuiteError, Undecided, WrongAnswer, judge, raised
from llm.checkpoint import CheckpointError


@pytest.fixture
def judged(student_of, tmp_path, monkeypatch):
    """judged(source): what a test says that calls f(tensor) of this exercise, with its file as a learner types it."""
    monkeypatch.chdir(tmp_path)

    def run(source: str):
        student = student_of(source)
        try:
            student.f(torch.zeros(2, 3))
        except BaseException as error:
            return judge(error, student)
        return judge(None, student)

    return run


def test_a_right_answer_passes(judged):
    assert judged("def f(w): return w").outcome == "passed"


def test_a_stub_is_not_started(judged):
    case = judged("def f(w):\n    raise NotImplementedError('ex01: f')")
    assert (case.outcome, case.state, case.line) == ("failed", "not started", 2)
    assert case.failure == Failure(summary="`f` is still a stub")


def test_an_error_of_the_learners_says_what_was_called_and_where(judged):
    case = judged("def f(w):\n    return g(w)\ndef g(w):\n    return w.nothing\n")
    assert (case.outcome, case.kind, case.line) == ("failed", "crashed", 4) and case.file.endswith("ex01_x.py")
    failure = case.failure
    assert (failure.summary, failure.called) == ("`f` raised an error", "f(float32 (2, 3))")
    assert failure.raised == "AttributeError: 'Tensor' object has no attribute 'nothing'"
    assert [(frame.file, frame.line, frame.text) for frame in failure.frames] == [("ex01_x.py", 4, "return w.nothing")]


def test_a_note_on_an_error_is_kept(judged):
    source = "def f(w):\n    error = KeyError(1)\n    error.add_note('expected  a ValueError')\n    raise error"
    assert judged(source).failure.notes == ["expected  a ValueError"]


@pytest.mark.parametrize(
    "source, outcome, state, line, says",
    [
        ("f = 1 +", "error", "error", 1, "ex01_x.py:1: invalid syntax"),
        ("f = nothing", "error", "error", 1, "importing ex01_x.py raised an error"),
        ("def g(w): ...", "failed", "not started", None, "ex01_x.py has no function `f`"),
    ],
    ids=["syntax", "import", "missing"],
)
def test_what_cannot_be_called_says_why(judged, source, outcome, state, line, says):
    case = judged(source)
    assert (case.outcome, case.state, case.line) == (outcome, state, line)
    assert case.failure.summary.startswith(says) and case.file.endswith("ex01_x.py")


def test_a_wrong_answer_is_the_suites_own_words():
    failure = Failure(called="f(1)", got="2", expected="3", think="Why?")
    case = judge(WrongAnswer(failure), None)
    assert (case.outcome, case.kind, case.failure) == ("failed", "wrong", failure)
    assert case.failure is not failure  # what is added to one case's belongs to that case


def test_the_end_of_a_process_is_that_of_the_test():
    case = judge(ProcessLost(crashed(3, "", "/x"), kind="not run"), None)
    assert (case.outcome, case.state) == ("crashed", "not run") and "exit code 3" in case.reason


@pytest.mark.parametrize(
    "error, outcome, kind, says",
    [
        (Undecided("no int8 here"), "undecided", "", "no int8 here"),
        (CheckpointError("no checkpoint"), "error", "environment", "no checkpoint"),
        (pytest.skip.Exception("later"), "failed", "suite", "skipped, which earns nothing: Skipped: later"),
        (SuiteError("no text"), "failed", "suite", "the suite itself stumbled: SuiteError: no text"),
        (pytest.fail.Exception("Timeout (>120s)"), "timeout", "", "still running: Timeout (>120s)"),
    ],
    ids=["undecided", "environment", "skip", "suite", "timeout"],
)
def test_what_is_not_the_learners_fault_is_said(error, outcome, kind, says):
    case = judge(error, None)
    assert (case.outcome, case.kind, case.reason) == (outcome, kind, says)


def test_a_missing_checkpoint_is_the_learners_fault_where_it_is_said_in_the_learners_code(judged):
    source = "from llm.checkpoint import CheckpointError\ndef f(w):\n    raise CheckpointError('none')"
    assert judged(source).kind == "crashed"


def test_an_exception_that_cannot_even_be_shown_is_a_crash_like_any_other():
    class Odd(Exception):
        def __str__(self):
            raise RuntimeError("no")

    assert raised(Odd()) == "Odd: (its message cannot be shown)"
