"""What CI tries whole: every exercise of which something changed since all of its answers were tried."""

import shutil

import pytest

from grader.results import syllabus
from tests.project import verified

NAMES = [exercise.name for exercise in syllabus.load()]


@pytest.fixture
def file(tmp_path, monkeypatch):
    """verified.toml of a copy of the project in which everything was tried."""
    for name, folder in (("ROOT", "."), ("TESTS", "tests"), ("SOLUTIONS", "solutions"), ("LLM", "llm")):
        monkeypatch.setattr(verified, name, tmp_path / folder)
    for folder in ("tests", "solutions", "llm"):
        shutil.copytree(
            verified.FILE.parents[2] / folder,
            tmp_path / folder,
            ignore=shutil.ignore_patterns("*.safetensors", "*.zip", "__pycache__", "hostile"),
        )
    written = tmp_path / "verified.toml"
    verified.record(set(NAMES), written)
    assert not verified.unverified(written)
    return written


@pytest.mark.parametrize(
    "changed, due",
    [
        ("tests/test_ex03_error_growth.py", NAMES[2:3]),
        ("solutions/ex03_error_growth.py", NAMES[2:3]),
        ("tests/misconceptions/ex03_error_growth/a_new_one.py", NAMES[2:3]),
        ("tests/project/right_answers/ex03_error_growth/a_new_one.py", NAMES[2:3]),
        ("tests/oracle.py", NAMES),
        ("tests/messages.py", NAMES),
        ("tests/script_runs.py", NAMES[8:9]),
        ("tests/gpt.py", NAMES[9:14]),
        ("llm/model.py", NAMES),
        ("llm/generate.py", []),
        ("tests/project/graded.py", []),
    ],
)
def test_what_changed_is_due(file, tmp_path, changed, due):
    with (tmp_path / changed).open("a") as source:
        source.write("\n# changed\n")
    assert verified.unverified(file) == set(due)


def test_what_passed_is_noted_and_the_others_stay_as_they_were(file, tmp_path):
    with (tmp_path / "tests" / "oracle.py").open("a") as source:
        source.write("\n# changed\n")
    verified.record({NAMES[0], NAMES[4]}, file)
    assert verified.unverified(file) == set(NAMES) - {NAMES[0], NAMES[4]}


def test_without_the_file_everything_is_due(tmp_path):
    assert verified.unverified(tmp_path / "missing.toml") == set(NAMES)
