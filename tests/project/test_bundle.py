"""A class's copy: everything a learner needs, nothing that gives answers away, and a board that works."""

import subprocess
import sys

import pytest

from grader import bundle
from tests.project import graded


@pytest.fixture(scope="module")
def copy(tmp_path_factory):
    out = tmp_path_factory.mktemp("class") / "kata"
    assert bundle.main(["students", str(out)]) == 0
    return out


def test_no_answer_is_in_it(copy):
    files = {str(file.relative_to(copy)) for file in copy.rglob("*") if file.is_file()}
    assert {"README.md", "noxfile.py", "pyproject.toml", "conftest.py", "tests/misconceptions.zip"} <= files
    assert {"exercises/syllabus.toml", "llm/checkpoint/card.json", "grader/check.py"} <= files
    assert not [name for name in files if name.startswith(("solutions/", "tests/project", "tests/misconceptions/"))]
    answer = "return torch.round(w.float() / scale).clamp(-qmax, qmax)"
    assert answer in (graded.ROOT / "solutions" / "ex01_round_trip.py").read_text()
    open_files = files - {"tests/misconceptions.zip"}
    assert not [name for name in open_files if answer.encode() in (copy / name).read_bytes()]


def test_its_readme_speaks_to_learners(copy):
    text = (copy / "README.md").read_text()
    assert "## Two commands" in text and "solutions/" not in text and "Teaching" not in text


def test_the_board_works_and_diagnoses_come_from_the_zip(copy):
    stub = copy / "exercises" / "ex01_round_trip.py"
    wrong = (graded.ROOT / "tests" / "misconceptions" / "ex01_round_trip" / "floors.py").read_text()
    before = stub.read_text()
    stub.write_text(wrong)
    try:
        command = [sys.executable, "-m", "grader.check", "ex01", "--plain", "--seed", "1"]
        done = subprocess.run(command, cwd=copy, capture_output=True, text=True)
    finally:
        stub.write_text(before)
    assert done.returncode == 1
    assert "an answer that rounds down" in done.stdout, done.stdout + done.stderr


def test_two_copies_have_the_same_zip(copy, tmp_path):
    bundle.students(tmp_path / "again")
    zips = [folder / "tests" / "misconceptions.zip" for folder in (copy, tmp_path / "again")]
    assert zips[0].read_bytes() == zips[1].read_bytes()


def test_nothing_is_overwritten(copy, capsys):
    assert bundle.main(["students", str(copy)]) == 2
    assert "not empty" in capsys.readouterr().err
