"""The result model: what cases add up to, what state an exercise is in, and nothing lost on the way through JSON."""

import json
import math
from pathlib import Path

import pytest

from grader.results.exports import feedback
from grader.results.model import CaseResult, ExerciseResult, FunctionResult, Host, RunResult, combine
from grader.results.safe_files import write_whole
from grader.suite.suite_main import _portable

HOST = Host(
    cpu="a processor",
    cores=2,
    threads=2,
    system="Linux x86_64",
    python="3.11.7",
    torch="2.13.0",
    int8_dot_products=True,
    quantized_engines=["x86", "onednn"],
)


def function(outcome: str = "passed", kind: str = "", **rest) -> FunctionResult:
    return combine("test_a_law", 2, [CaseResult(outcome=outcome, kind=kind, **rest)])


def exercise(*functions: FunctionResult, **rest) -> ExerciseResult:
    return ExerciseResult(
        name="ex01_round_trip", title="Round trip", track="core", points=10, functions=list(functions), **rest
    )


def run_of(*exercises: ExerciseResult) -> RunResult:
    return RunResult(submission="exercises", seed=7, suite="abc", host=HOST, exercises=list(exercises))


@pytest.mark.parametrize("outcome", ["undecided", "failed", "timeout", "crashed", "error"])
def test_points_are_earned_when_every_case_passed(outcome):
    passed = CaseResult(outcome="passed", seconds=0.25, measured={"size ratio": 3.2})
    assert combine("test_a_law", 2, [passed, passed]).earned == 2
    mixed = combine("test_a_law", 2, [passed, CaseResult(outcome=outcome, case="int4", seconds=0.5), passed])
    assert (mixed.outcome, mixed.case, mixed.earned, mixed.points) == (outcome, "int4", 0, 2)
    assert mixed.seconds == 1.0
    assert mixed.measured == {"size ratio": 3.2}


def test_what_a_learners_code_says_is_text_in_every_view():
    says = "a\x1b[2J\x1b]0;b\x07\u202ec\td\r\ne\x00\ud800"
    shown = "a]0;bc\td\ne"
    case = CaseResult(outcome="failed", message=says, hint=says, output=says, file=says)
    result = run_of(exercise(combine("test_a_law", 2, [case]), problem=says))
    for read in (result, RunResult.from_json(result.to_json())):
        (one,) = read.functions
        assert {one.message, one.hint, one.output, one.file, read.exercises[0].problem} == {shown}
    assert "      a]0;bc" in feedback(result) and not set("\x1b\x07\r\x00\u202e") & set(feedback(result))


def test_the_first_of_the_worst_cases_speaks():
    cases = [
        CaseResult(outcome="failed", message="a", case="int8"),
        CaseResult(outcome="crashed", message="b", case="int4"),
        CaseResult(outcome="crashed", message="c", case="int2"),
    ]
    assert combine("test_a_law", 1, cases).message == "b"


@pytest.mark.parametrize(
    "functions, state",
    [
        ([function()], "passed"),
        ([function(), function("undecided")], "passed"),
        ([function("undecided")], "undecided"),
        ([function("failed", "not started")], "not started"),
        ([function("failed", "not started"), function("undecided")], "not started"),
        ([function("failed", "not started"), function()], "failed"),
        ([function("failed", "not started"), function("failed", "wrong")], "failed"),
        ([function("failed", "wrong"), function("timeout"), function()], "timeout"),
        ([function("crashed"), function("timeout")], "crashed"),
        ([function("error", "import"), function("crashed")], "error"),
        ([], "error"),
    ],
)
def test_state_of_an_exercise(functions, state):
    assert exercise(*functions).state == state


def test_an_exercise_that_waits_or_has_no_suite_has_no_other_state():
    assert exercise(waits_for=["ex02_per_channel"]).state == "waiting"
    assert exercise(problem="the suite is missing").state == "error"


def test_json_loses_nothing_and_adds_states_and_totals():
    result = run_of(
        exercise(
            function(measured={"drift": -0.0002}), function("failed", "wrong", message="√n", output="x\n", line=3)
        ),
        exercise(waits_for=["ex01_round_trip"]),
    )
    text = result.to_json()
    assert RunResult.from_json(text) == result
    record = json.loads(text)
    assert [entry["state"] for entry in record["exercises"]] == ["failed", "waiting"]
    assert (record["earned"], record["points"], record["seed"], record["host"]["cores"]) == (2, 20, 7, 2)
    assert record["exercises"][0]["functions"][1]["line"] == 3


@pytest.mark.parametrize("text", ["[]", "{}", '{"format": 0}', "no JSON at all"])
def test_json_of_another_kind_is_refused(text):
    with pytest.raises(ValueError):
        RunResult.from_json(text)


def test_what_is_wrong_with_the_installation_is_told_apart():
    assert run_of(exercise(function("failed", "wrong", message="no"))).broken == ""
    assert run_of(exercise(function("error", "environment", message="no checkpoint"))).broken == "no checkpoint"
    assert run_of(exercise(problem="no suite")).broken == "no suite"


def test_a_verdict_travels_in_bounds_and_with_its_question_apart():
    verdict = {"outcome": "failed", "kind": "wrong", "file": None, "line": None, "output": "y" * 100_000}
    verdict["message"] = "heading\n  called    f(x)\n  think     Which one?"  # indented as pytest does
    verdict["measured"] = {"drift": math.nan, "size ratio": 3}
    portable = _portable(verdict)
    assert portable["message"] == "heading\ncalled    f(x)"
    assert portable["hint"] == "Which one?"
    assert portable["measured"] == {"size ratio": 3.0}
    assert len(portable["output"]) < 10_000


def _no_room(*_):
    raise OSError("no room on the disk")


def test_a_file_is_written_whole_or_not_at_all(tmp_path, monkeypatch):
    file = tmp_path / "result.json"
    file.write_text("the run before")
    with monkeypatch.context() as patched, pytest.raises(OSError, match="disk"):
        patched.setattr(Path, "write_bytes", _no_room)
        write_whole(file, "this run")
    assert file.read_text() == "the run before" and list(tmp_path.iterdir()) == [file]
    write_whole(file, "half a character: \udc80")
    assert file.read_text() == "half a character: \\udc80"
    write_whole(file, "this run")
    assert file.read_text() == "this run"
