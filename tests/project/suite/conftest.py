"""What tests of the local student have in common."""

import textwrap

import pytest

from grader.suite.local_student import LocalStudent


@pytest.fixture
def student_of(tmp_path):
    """student_of(source): the local student of a submission that has one exercise, ex01_x."""

    def build(source: str) -> LocalStudent:
        (tmp_path / "ex01_x.py").write_text(textwrap.dedent(source))
        return LocalStudent(tmp_path, "ex01_x")

    return build
