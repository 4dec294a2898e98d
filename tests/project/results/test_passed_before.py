"""An exercise that waits because an earlier one broke is known to have passed, as long as its own code is the same."""

import pytest

from grader.results import passed_before
from grader.results.model import CaseResult, ExerciseResult, RunResult, combine


@pytest.fixture(autouse=True)
def memory(tmp_path, monkeypatch):
    monkeypatch.setattr(passed_before, "MEMORY", tmp_path / ".kata" / "passed.json")
    return passed_before.MEMORY


def run_of(**outcomes: str) -> RunResult:
    """Of each exercise: passed, failed, or waiting for ex01."""
    exercises = []
    for name, outcome in outcomes.items():
        waits = ["ex01"] if outcome == "waiting" else []
        functions = [] if waits else [combine("test_x", 10, [CaseResult(outcome=outcome)])]
        found = ExerciseResult(name=name, title="", track="core", points=10, functions=functions, waits_for=waits)
        exercises.append(found)
    return RunResult(submission="exercises", seed=1, suite="abc", exercises=exercises)


def noted(folder, **outcomes: str) -> list[str]:
    """The exercises that are said to have passed before."""
    result = run_of(**outcomes)
    passed_before.note(result, folder)
    return [exercise.name for exercise in result.exercises if exercise.passed_before]


def test_what_passed_is_remembered_with_its_code(tmp_path):
    for name in ("ex01", "ex02"):
        (tmp_path / f"{name}.py").write_text("right")
    assert noted(tmp_path, ex01="failed", ex02="waiting") == []
    assert noted(tmp_path, ex01="passed", ex02="passed") == []
    assert noted(tmp_path, ex01="failed", ex02="waiting") == ["ex02"]
    assert noted(tmp_path, ex01="failed", ex02="waiting") == ["ex02"]
    (tmp_path / "ex02.py").write_text("changed since then")
    assert noted(tmp_path, ex01="failed", ex02="waiting") == []


def test_what_failed_or_is_missing_did_not_pass(tmp_path, memory):
    (tmp_path / "ex02.py").write_text("wrong")
    noted(tmp_path, ex01="passed", ex02="failed")
    assert noted(tmp_path, ex01="waiting", ex02="waiting") == []


@pytest.mark.parametrize("text", ["", "[]", "{", '{"ex02": 3}'])
def test_a_memory_that_somebody_else_wrote_is_no_memory(tmp_path, memory, text):
    (tmp_path / "ex02.py").write_text("right")
    memory.parent.mkdir()
    memory.write_text(text)
    assert noted(tmp_path, ex02="waiting") == []
    assert noted(tmp_path, ex02="passed") == [] and noted(tmp_path, ex02="waiting") == ["ex02"]
