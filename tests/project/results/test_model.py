"""The result model: what cases add up to, what state an exercise is in, and nothing lost on the way through JSON."""

import json

import pytest

from grader.results.exports import feedback
from grader.results.failure import Failure, Frame, Match
from grader.results.model import CaseResult, ExerciseResult, FunctionResult, Host, RunResult, combine

EVERYTHING = Failure(
    summary="a sentence",
    called="f(√n)",
    got="1",
    expected="2",
    raised="ValueError: x",
    think="Why?",
    also=["f(3)"],
    notes=["a note"],
    matches=[Match(name="floors", does="rounds down", think="Which way?", agree="all 3 codes agree")],
    case="int4",
    frames=[Frame(file="ex01.py", line=3, function="f", text="return 1")],
)
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
    texts = dict.fromkeys(("summary", "called", "got", "expected", "think", "raised", "case"), says)
    frames = [Frame(file=says, line=1, function=says, text=says)]
    failure = Failure(**texts, also=[says], notes=[says], frames=frames)
    case = CaseResult(outcome="failed", failure=failure, output=says, file=says)
    result = run_of(exercise(combine("test_a_law", 2, [case]), problem=says))
    for read in (result, RunResult.from_json(result.to_json())):
        (one,) = read.functions
        found = one.failure
        said = {getattr(found, name) for name in texts} | {*found.also, *found.notes}
        said |= {part for frame in found.frames for part in (frame.file, frame.function, frame.text)}
        assert said | {one.output, one.file, read.exercises[0].problem} == {shown}
    assert "      a]0;bc" in feedback(result) and not set("\x1b\x07\r\x00\u202e") & set(feedback(result))


def test_the_first_of_the_worst_cases_speaks():
    cases = [
        CaseResult(outcome="failed", failure=Failure(got="a"), case="int8"),
        CaseResult(outcome="crashed", failure=Failure(got="b"), case="int4"),
        CaseResult(outcome="crashed", failure=Failure(got="c"), case="int2"),
    ]
    assert combine("test_a_law", 1, cases).failure.got == "b"


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
            function(measured={"drift": -0.0002}), function("failed", "wrong", failure=EVERYTHING, output="x\n", line=3)
        ),
        exercise(waits_for=["ex01_round_trip"]),
    )
    text = result.to_json()
    assert RunResult.from_json(text) == result
    record = json.loads(text)
    assert [entry["state"] for entry in record["exercises"]] == ["failed", "waiting"]
    assert (record["earned"], record["points"], record["seed"], record["host"]["cores"]) == (2, 20, 7, 2)
    assert record["exercises"][0]["functions"][1]["line"] == 3


def test_an_earlier_versions_result_is_refused_in_words():
    with pytest.raises(ValueError, match="a result of format 1, and this version reads format 2: grade again"):
        RunResult.from_json('{"format": 1, "exercises": []}')


@pytest.mark.parametrize("text", ["[]", "{}", '{"format": 0}', "no JSON at all"])
def test_json_of_another_kind_is_refused(text):
    with pytest.raises(ValueError):
        RunResult.from_json(text)


def test_what_is_wrong_with_the_installation_is_told_apart():
    assert run_of(exercise(function("failed", "wrong", failure=Failure(summary="no")))).broken == ""
    assert (
        run_of(exercise(function("error", "environment", failure=Failure(summary="no checkpoint")))).broken
        == "no checkpoint"
    )
    assert run_of(exercise(problem="no suite")).broken == "no suite"


def test_laws_that_share_a_function_are_kept_and_parameter_sets_are_not():
    cases = [CaseResult(outcome="passed", case="Zeros stay zero."), CaseResult(outcome="failed", case="int4")]
    assert [law.case for law in combine("test_a_law", 1, cases).laws] == ["Zeros stay zero."]
    result = run_of(exercise(combine("test_a_law", 1, cases)))
    assert RunResult.from_json(result.to_json()) == result


def test_every_text_can_be_changed_whatever_it_holds():
    """Also where JSON would write it in another way: a path that is not ASCII."""
    result = run_of(exercise(function("failed", failure=Failure(got='in "/tmp/ä/x.py"'), file="/tmp/ä/x.py")))
    (one,) = result.with_texts(lambda text: text.replace("/tmp/ä/", "")).functions
    assert (one.failure.got, one.file) == ('in "x.py"', "x.py")


def test_a_title_is_a_sentence():
    assert function().title == "A law."
    assert combine("test_a_law", 1, [CaseResult(outcome="passed")], "Zeros stay zero.").title == "Zeros stay zero."
