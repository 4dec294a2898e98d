"""An exercise that cannot be imported says why, with file and line."""

import pytest

from grader.suite.load_exercise import LoadError


@pytest.mark.parametrize(
    "encoding, text",
    [(encoding, text) for encoding in ("utf-16", "utf-16-le") for text in ("name = 'é'\n", "name = 'e'\n")]
    + [("latin-1", "name = 'é'\n")],
)
def test_a_file_in_another_encoding_is_said_to_be(student_of, tmp_path, encoding, text):
    student = student_of("from .ex00_x import *\ndef f(): ...\n")
    (tmp_path / "ex00_x.py").write_bytes(text.encode(encoding))
    with pytest.raises(LoadError, match="ex00_x.py:1: it is not UTF-8 text: save it as UTF-8") as error:
        student.f()
    assert error.value.file.name == "ex00_x.py"


def test_a_nul_byte_is_named_with_its_line(student_of, tmp_path):
    student = student_of("")
    (tmp_path / "ex01_x.py").write_bytes("# é\ndef f():\n    return 1\0\n".encode())
    with pytest.raises(LoadError, match="ex01_x.py:3: it holds a NUL byte") as error:
        student.f()
    assert error.value.line == 3


def test_a_file_may_name_its_encoding(student_of, tmp_path):
    student = student_of("")
    (tmp_path / "ex01_x.py").write_bytes("# coding: latin-1\ndef f(): return 'é'\n".encode("latin-1"))
    assert student.f() == "é"


def test_a_syntax_error_has_its_line_and_a_mark_below_the_place(student_of, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(LoadError) as error:
        student_of("x = 1\ndef f():\n    y = (1 +* 2)\n").f()
    assert (error.value.kind, error.value.line) == ("import", 3)
    assert error.value.failure.summary == "ex01_x.py:3: invalid syntax\n    y = (1 +* 2)\n            ^"


def test_an_error_during_the_import_has_the_learners_line(student_of, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(LoadError) as error:
        student_of("def f(): pass\nf(1, 2)\n").f()
    failure = error.value.failure
    assert failure.summary == "importing ex01_x.py raised an error" and failure.raised.startswith("TypeError: f()")
    assert [(frame.file, frame.line, frame.text) for frame in failure.frames] == [("ex01_x.py", 2, "f(1, 2)")]


def test_an_earlier_exercise_that_is_missing_is_not_started(student_of):
    with pytest.raises(LoadError, match="ex01_x.py imports ex00_y.py, which is not in ") as error:
        student_of("from .ex00_y import g\n").f()
    assert error.value.kind == "not started"
