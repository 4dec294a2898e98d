"""The graded suites as a whole: solutions pass, stubs have not started, crashes are crashes, nonsense is wrong."""

import ast
import json
import subprocess
import sys
from collections import Counter
from pathlib import Path

import pytest

from grader.results import syllabus
from grader.suite.verdict import Undecided
from tests import test_ex08_cpu_speed as ex08
from tests.project import graded
from tests.project.conftest import UNVERIFIED

ROOT = graded.ROOT
NAMES = [exercise.name for exercise in syllabus.load()]
NONSENSE = {
    "none": "None",
    "a-string": "'42'",
    "minus-one": "-1",
    "nan": "float('nan')",
    "wrong-shape": "torch.full((3, 2), float('nan'))",
    "empty-list": "[]",
    "two-tensors": "(torch.zeros(2, 2, dtype=torch.int8), torch.zeros(()))",
    "a-module": "torch.nn.Identity()",
    "its-argument": "next(iter(locals().values()))",
    "a-lazy-module": "torch.nn.LazyLinear(3)",
    "a-dict": "{'q': 3}",
    "infinity-of-its-shape": "torch.full_like(next(iter(locals().values())).float(), float('inf'))",
}


def replaced(folder: Path, statement: str) -> Path:
    """A submission in which the body of every contract function is this one statement."""
    folder.mkdir()
    for name in NAMES:
        tree = ast.parse((ROOT / "exercises" / f"{name}.py").read_text())
        for node in ast.walk(tree):
            if isinstance(node, ast.FunctionDef) and "NotImplementedError" in ast.unparse(node):
                node.body = ast.parse("pass" if node.name == "__init__" else statement).body
        tree.body.insert(1, ast.parse("import torch").body[0])
        (folder / f"{name}.py").write_text(ast.unparse(ast.fix_missing_locations(tree)))
    return folder


@pytest.mark.whole
@pytest.mark.timeout(900)
def test_solutions_pass_everything_on_the_board(tmp_path):
    report = tmp_path / "report.json"
    command = [sys.executable, "-m", "grader.commands.check", "--submission", "solutions", "--plain"]
    done = subprocess.run([*command, "--json", str(report)], cwd=ROOT, capture_output=True, text=True)
    print(done.stdout)
    assert done.returncode == 0, done.stdout
    for track, number in Counter(exercise.track for exercise in syllabus.load()).items():
        assert f"{number} of {number} {track} exercises" in done.stdout
    for exercise in json.loads(report.read_text())["exercises"]:
        for function in exercise["functions"]:
            undecided = function["outcome"] == "undecided" and function["name"] == "test_the_gpt_is_twice_as_fast"
            assert function["outcome"] == "passed" or undecided, f"{exercise['name']}: {function}"


@pytest.mark.timeout(900)
def test_solutions_pass(seed, pytestconfig):
    """In slow suites the quick tests, but where something changed; a whole run has the board above."""
    whole = pytestconfig.stash[UNVERIFIED]
    parts = [{} if name in whole else graded.quick(name) for name in NAMES]
    jobs = [graded.Job(str(ROOT / "solutions"), (name,), seed, **part) for name, part in zip(NAMES, parts, strict=True)]
    for name, reports in zip(NAMES, graded.run_shared(jobs), strict=True):
        assert reports, f"{name}: nothing ran"
        for test, cases in reports.items():
            bad = [case for case in cases if case["outcome"] != "passed"]
            undecided = test in graded.TIMED and {case["outcome"] for case in bad} == {"undecided"}
            assert not bad or undecided, f"{test}: {bad}"


@pytest.mark.timeout(600)
def test_an_untouched_stub_has_not_started_in_every_test():
    reports = graded.run(ROOT / "exercises", *NAMES)
    assert len(reports) >= 60
    for name, cases in reports.items():
        for case in cases:
            assert (case["outcome"], case["kind"]) == ("failed", "not started"), f"{name}: {case}"
            assert "stub" in case["message"] and case["file"] and case["line"]


@pytest.mark.timeout(600)
def test_a_crash_is_told_apart_and_names_the_line(tmp_path, whole):
    names = [name for name in NAMES if whole or name[:4] not in graded.SLOW]
    reports = graded.run(replaced(tmp_path / "crashes", "raise KeyError('on purpose')"), *names)
    for name, cases in reports.items():
        for case in cases:
            assert (case["outcome"], case["kind"]) == ("failed", "crashed"), f"{name}: {case}"
            assert "KeyError: 'on purpose'" in case["message"] and ".py:" in case["message"]
            assert "\ncalled    " in case["message"]
    assert "\nexpected  a ValueError" in reports["test_what_cannot_be_quantized_is_a_value_error"][0]["message"]


@pytest.mark.whole
@pytest.mark.timeout(600)
@pytest.mark.parametrize("value", NONSENSE.values(), ids=NONSENSE)
def test_nonsense_is_wrong_and_never_confuses_a_suite(tmp_path, value):
    reports = graded.run(replaced(tmp_path / "nonsense", f"return {value}"), *NAMES)
    for name, cases in reports.items():
        kinds = {case["kind"] for case in cases if case["outcome"] != "passed"}
        assert kinds, f"{name} passes"
        assert kinds <= {"wrong", "crashed"}, (
            f"{name}: {[c for c in cases if c['kind'] not in ('wrong', 'crashed')][:1]}"
        )


@pytest.mark.parametrize(
    "ours, wins, yardstick, verdict",
    [
        (2.5, 21, 2.6, "passed"),
        (2.5, 21, 1.5, "passed"),  # the student is judged first
        (2.1, 16, 3.0, "failed"),  # a median of luck: too few rounds were won
        (1.9, 21, 2.4, "failed"),
        (1.9, 21, 2.2, "undecided"),
        (0.5, 0, 1.0, "undecided"),
        (0.5, 0, 4.0, "failed"),
    ],
)
def test_a_slow_answer_fails_unless_the_machine_is_slow_too(ours, wins, yardstick, verdict):
    try:
        ex08.judge({"student": ours, "yardstick": yardstick, "control": 1.0}, wins)
        judged, message = "passed", ""
    except Undecided as why:  # a skip: it must not get away
        judged, message = "undecided", str(why)
    except AssertionError as why:
        judged, message = "failed", str(why)
    assert judged == verdict, message
    assert f"{yardstick:.2f}" in message or verdict == "passed"
