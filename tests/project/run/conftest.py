"""A copy of the project with one small exercise, whose suite and known mistakes a test writes itself."""

import shutil
import textwrap
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import pytest

from grader.results.model import ExerciseResult, FunctionResult
from grader.results.paths import ROOT
from grader.results.syllabus import Exercise
from grader.run import runner, suite_process

HELPERS = ("__init__.py", "specimens.py", "messages.py")
SUITE = """
import pytest
from tests.messages import fail

@pytest.mark.points(1)
def test_one(student, rng):
    if (got := student.one(3)) != 4:
        fail("one(3)", got, 4)

@pytest.mark.points(1)
def test_one_again(student, rng):
    if (got := student.one(7)) != 8:
        fail("one(7)", got, 8)

@pytest.mark.points(1)
@pytest.mark.parametrize("n", [1, 2], ids=lambda n: f"n={n}")
def test_two(student, rng, n):
    if (got := student.two(n)) != 2 * n:
        fail(f"two({n})", got, 2 * n)

@pytest.mark.points(1)
def test_three(student, rng):
    if (got := student.three(2)) != 8:
        fail("three(2)", got, 8)
"""
RIGHT = """
def one(n): return n + 1
def two(n): return 2 * n
def three(n): return n ** 3
"""


@dataclass(frozen=True)
class SmallProject:
    """The copy, and how to run its exercise: `run(source)` is that of a learner with this file."""

    root: Path
    run: Callable[..., ExerciseResult]

    def misconception(self, name: str, source: str) -> None:
        """One more wrong answer that is known."""
        folder = self.root / "tests" / "misconceptions" / "ex01_small"
        folder.mkdir(parents=True, exist_ok=True)
        (folder / f"{name}.py").write_text(textwrap.dedent(source))


class Silent:
    def testing(self, *_): ...
    def within(self, *_): ...
    def finished(self, *_): ...


@pytest.fixture
def small(tmp_path, monkeypatch) -> SmallProject:
    """The suite process runs in the copy; this process stays in the project itself."""
    root, answers = tmp_path / "project", tmp_path / "answers"
    shutil.copytree(ROOT / "grader", root / "grader")
    (root / "tests").mkdir()
    for name in HELPERS:
        shutil.copy(ROOT / "tests" / name, root / "tests")
    (root / "llm").symlink_to(ROOT / "llm")
    shutil.copy(ROOT / "conftest.py", root)
    (root / "tests" / "test_ex01_small.py").write_text(SUITE)
    answers.mkdir()
    monkeypatch.setattr(suite_process, "ROOT", root)

    def run(source: str, timed: bool = False, seed: int = 1, progress=None, **options) -> ExerciseResult:
        """The result of RIGHT with these functions in the place of its own."""
        (answers / "ex01_small.py").write_text(RIGHT + textwrap.dedent(source))
        exercise = Exercise("ex01_small", "Small", "core", 4, (), (), timed=timed)
        return runner.run([exercise], answers, "answers", seed, progress or Silent(), **options).exercises[0]

    return SmallProject(root, run)


def functions_of(result: ExerciseResult) -> dict[str, FunctionResult]:
    """By name, without `test_`."""
    return {function.name.removeprefix("test_"): function for function in result.functions}


def states_of(result: ExerciseResult) -> dict[str, str]:
    return {name: function.state for name, function in functions_of(result).items()}
