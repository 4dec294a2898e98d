"""The mutation run: it makes the changes it says, notices those that a suite misses, and knows which are no change."""

import ast

import pytest

from grader.results import syllabus
from tests.project import graded, mutate

EXERCISES = [exercise.name for exercise in syllabus.load()]
SOURCE = '''
LIMIT = 7

def f(x, flag=True):
    """Not 1 but 2."""
    try:
        y = max(x.float(), 0) + 1 if flag else -x
    finally:
        close(x, hard=True)
    if not 0 <= y < 3 and flag:
        raise ValueError("y is 4")
    return y

def demonstration():
    print(1 + 2)
'''


def sources(name: str) -> str:
    return (graded.ROOT / "solutions" / f"{name}.py").read_text()


def test_each_mutant_is_one_change_of_code_that_counts():
    made = list(mutate.mutants("ex01", SOURCE))
    texts = [mutant.text for mutant in made]
    assert len(set(texts)) == len(texts)
    for mutant in made:
        ast.parse(mutant.text)
        assert mutant.text != ast.unparse(ast.parse(SOURCE))
        assert "Not 1 but 2." in mutant.text and "ValueError('y is 4')" in mutant.text and "print(1 + 2)" in mutant.text
    for change in (
        "LIMIT = 8",
        "flag=False",
        "min(x.float(), 0) + 1",
        "max(x, 0) + 1",
        "max(x.float(), 0) - 1",
        "max(x.float(), 0) + 1\n",  # the other branch is gone
        "y = -x",
        "else x\n",
        "close(x)",
        "pass\n",
        "if 0 <= y < 3 and flag",
        "if not 0 < y < 3 and flag",
        "if not 0 <= y <= 3 and flag",
        "if not 0 <= y < 3:",
        "if True:",
    ):
        assert any(change in text for text in texts), change
    assert any("try:" not in text and "close(" in text for text in texts)
    assert any("try:" not in text and "close(" not in text for text in texts)


@pytest.mark.parametrize("name", EXERCISES)
def test_the_listed_ones_exist_and_have_a_reason(name):
    made = list(mutate.mutants(name, sources(name)))
    for entry in mutate.listed():
        assert any(word.startswith(entry["exercise"]) for word in EXERCISES)
        if name.startswith(entry["exercise"]):
            assert any(mutate.is_listed(mutant, entry) for mutant in made), entry
            assert len(entry["reason"].split()) >= 5


@pytest.mark.whole
def test_what_a_suite_misses_survives_and_what_it_sees_does_not():
    made = list(mutate.mutants("ex03_error_growth", sources("ex03_error_growth")))
    of_one = [mutant for mutant in made if mutant.function == "worst_case_error"]
    missed = next(m for m in made if any(mutate.is_listed(m, entry) for entry in mutate.listed()))
    assert len(of_one) >= 3
    assert mutate.survivors("ex03_error_growth", [*of_one, missed], 1, 2) == [missed]


def test_a_solution_that_fails_proves_nothing(tmp_path, monkeypatch):
    (tmp_path / "solutions").mkdir()
    for file in (graded.ROOT / "solutions").glob("ex*.py"):
        text = file.read_text()
        (tmp_path / "solutions" / file.name).write_text(text.replace("n * scale / 2 * x_max", "n * scale * x_max"))
    made = list(mutate.mutants("ex03_error_growth", (tmp_path / "solutions" / "ex03_error_growth.py").read_text()))
    monkeypatch.setattr(mutate, "SOLUTIONS", tmp_path / "solutions")
    with pytest.raises(RuntimeError, match="does not pass its own suite"):
        mutate.survivors("ex03_error_growth", made[:2], 1, 1)


@pytest.mark.whole
def test_a_mutant_that_hangs_or_ends_its_process_is_killed(tmp_path):
    jobs = []
    for name, line in (("ends", "import os; os._exit(0)"), ("hangs", "while True: pass"), ("fine", "")):
        folder = tmp_path / name
        folder.mkdir()
        text = sources("ex03_error_growth")
        marker = "    return n * scale / 2 * x_max"
        assert marker in text
        (folder / "ex03_error_growth.py").write_text(text.replace(marker, f"    {line}\n{marker}"))
        (folder / "ex01_round_trip.py").write_text(sources("ex01_round_trip"))
        jobs.append(graded.Job(str(folder), ("ex03_error_growth",), 1, "test_the_worst_case_adds_up_like_n"))
    outcomes = [
        {case["outcome"] for cases in report.values() for case in cases} for report in graded.run_hardy(jobs, 10)
    ]
    assert outcomes == [{"crashed"}, {"crashed"}, {"passed"}]
