"""Wrong answers that people really give are caught, by the test that each names; right ones of every kind pass."""

import ast
import re
from pathlib import Path

import pytest

from grader import syllabus
from tests.project import graded

WRONG, RIGHT = graded.ROOT / "tests" / "misconceptions", Path(__file__).parent / "right_answers"
TIMED = {"test_the_gpt_is_twice_as_fast", "test_the_speedup_is_the_one_we_measure"}  # not every machine can judge
CAUGHT_BY = re.compile(r"^# caught by: (test_\w+)$", re.MULTILINE)
EXERCISES = {exercise.name: exercise for exercise in syllabus.load()}
AT_LEAST = {"ex01": 10, "ex02": 10, "ex03": 6, "ex04": 10, "ex05": 10, "ex06": 10, "ex07": 6, "ex08": 6, "ex09": 6}
EVERY = pytest.mark.parametrize("name", EXERCISES)


def answers(folder: Path, name: str) -> list[Path]:
    return sorted((folder / name).glob("*.py"))


def processes(name: str) -> int:
    return 1 if name.startswith("ex08") else 2  # nothing else may run beside the suite that judges speed


@EVERY
def test_wrong_answers_speak_to_the_learner_and_name_their_test(name):
    suite = (graded.ROOT / "tests" / f"test_{name}.py").read_text()
    assert len(answers(WRONG, name)) >= AT_LEAST[name[:4]]
    for file in answers(WRONG, name):
        text = file.read_text()
        lesson = ast.get_docstring(ast.parse(text))
        assert lesson and len(re.findall(r"[.?](?:\s|$)", lesson)) >= 2, f"{file}: what it does, what to think about"
        assert len(CAUGHT_BY.findall(text)) == 1, file
        assert f"def {CAUGHT_BY.search(text)[1]}(" in suite, file


@pytest.mark.timeout(600)
@EVERY
def test_each_wrong_answer_is_caught_by_the_test_it_names(name, seed):
    files = answers(WRONG, name)
    tests = [CAUGHT_BY.search(file.read_text())[1] for file in files]
    reports = graded.run_each(files, seed, tests, processes(name))
    escaped = {}
    for file, test, report in zip(files, tests, reports, strict=True):
        kinds = {case["kind"] for case in report.get(test, []) if case["outcome"] == "failed"}
        if not kinds or not kinds <= {"wrong", "crashed"}:
            escaped[file.stem] = [(case["outcome"], case["message"][:200]) for case in report.get(test, [])]
    print(f"{name}: {len(files) - len(escaped)} of {len(files)} wrong answers caught, seed {seed}")
    assert not escaped


@pytest.mark.timeout(900)
@EVERY
def test_each_right_answer_passes_everything(name, seed):
    files = answers(RIGHT, name)
    assert len(files) >= 5
    reports = graded.run_each(files, seed, processes=processes(name))
    rejected = {}
    for file, report in zip(files, reports, strict=True):
        assert report, f"{file}: nothing ran"
        for test, cases in report.items():
            fine = {"passed", "undecided"} if test in TIMED else {"passed"}
            bad = [case for case in cases if case["outcome"] not in fine]
            if bad:
                rejected[file.stem] = f"{test}: {bad[0]['message'][:500]}"
    print(f"{name}: {len(files) - len(rejected)} of {len(files)} right answers accepted, seed {seed}")
    assert not rejected
