"""Which versions of Landlock count."""

from grader.sandbox import landlock


def test_a_landlock_that_lets_no_file_be_moved_is_none(monkeypatch):
    for found, version in ((-1, 0), (1, 0), (2, 2), (7, 7)):
        monkeypatch.setattr(landlock.libc, "syscall", lambda *_, found=found: found)
        assert landlock.version() == version
