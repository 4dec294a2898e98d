"""`nox -s bundle` as an instructor types it; what it writes is in tests/project/classroom/test_bundle.py."""

import pytest

from grader.commands.bundle import main


@pytest.mark.parametrize(
    "arguments, says",
    [
        (["students", "OUT", "--only", "ex01"], "leave it out"),
        (["gradescope", "OUT", "--only", "ex77"], "no exercise is called"),
        (["classroom50", "FULL"], "not empty"),
        (["gradescope", "ZIP"], "exists"),
    ],
)
def test_what_cannot_be_bundled_is_said(tmp_path, capsys, arguments, says):
    (tmp_path / "full").mkdir()
    (tmp_path / "full" / "file").write_text("")
    (tmp_path / "a.zip").write_text("")
    places = {"OUT": "out", "FULL": "full", "ZIP": "a.zip"}
    assert main([str(tmp_path / places[word]) if word in places else word for word in arguments]) == 2
    assert says in capsys.readouterr().err
