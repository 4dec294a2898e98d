"""Folders in which a stranger's code was at work: they go, and nothing that they hold costs a result."""

import os
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import pytest

from grader.commands.command_line import outcome
from grader.results import process_failure
from grader.results.safe_files import scratch_folder, sweep, write_whole
from tests.project import graded


def test_the_deepest_folder_goes_and_no_error_comes(tmp_path):
    with scratch_folder("kata-", tmp_path) as folder:
        os.chdir(folder)
        for _ in range(1500):
            os.mkdir("deeper")
            os.chdir("deeper")
        os.chdir(tmp_path)
    assert not list(tmp_path.iterdir())


def test_it_goes_after_an_error_as_well(tmp_path):
    try:
        with scratch_folder("kata-", tmp_path) as folder:
            (folder / "file").write_text("")
            raise KeyError
    except KeyError:
        pass
    assert not list(tmp_path.iterdir())


HIDDEN = """
import os, sys
from pathlib import Path
from grader.results.safe_files import discard
if os.geteuid() == 0:  # whom no mode keeps out
    os.setgroups([])
    os.setgid(61_234)
    os.setuid(61_234)
folder = Path(sys.argv[1], "mine")
for name in ("hidden", "hidden/below"):
    (folder / name).mkdir(parents=True)
    (folder / name / "file").write_text("left behind")
for name in ("hidden/below", "hidden"):
    (folder / name).chmod(0o300 if name == "hidden" else 0)
discard(folder)
sys.exit(folder.exists())
"""


def test_a_folder_that_its_owner_may_not_list_goes_as_well(tmp_path):
    with tempfile.TemporaryDirectory() as folder:  # not tmp_path, which no other user may enter
        os.chmod(folder, 0o777)
        done = subprocess.run([sys.executable, "-B", "-c", HIDDEN, folder], cwd=graded.ROOT, timeout=60)
    assert done.returncode == 0


def test_what_dead_runs_left_goes_and_nothing_else(tmp_path, monkeypatch):
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    code = "import os, grader.results.safe_files as s; c = s.scratch_folder('kata-class-'); c.__enter__(); os._exit(1)"
    subprocess.run(
        [sys.executable, "-c", code], cwd=graded.ROOT, env=os.environ | {"TMPDIR": str(tmp_path)}, timeout=60
    )
    (left,) = tmp_path.glob("kata-class-*")
    (tmp_path / "kata-class-link").symlink_to(left)
    with scratch_folder("kata-class-") as mine, scratch_folder("kata-taken-"):
        sweep("kata-class-")
        assert mine.is_dir() and not left.exists() and len(list(tmp_path.glob("kata-*"))) == 3


@pytest.mark.parametrize("polite", [signal.SIGTERM, signal.SIGHUP])
def test_other_ends_are_as_with_ctrl_c(tmp_path, polite):
    def work():
        with scratch_folder("kata-", tmp_path):
            os.kill(os.getpid(), polite)
            time.sleep(5)

    assert outcome(work) == 130
    assert not list(tmp_path.iterdir()) and signal.getsignal(polite) is signal.SIG_DFL


def test_a_stack_that_a_student_wrote_shows_no_file_but_the_students(tmp_path):
    mine = tmp_path / "exercises" / "ex01.py"
    secret = tmp_path / "secret"
    mine.parent.mkdir()
    mine.write_text("mine\n")
    secret.write_text("the answer\n")
    stack = f'  File "{mine.parent}/../secret", line 1 in f\n  File "{mine}", line 1 in g\n'
    places = process_failure.own_frames(stack, str(mine.parent))
    assert [place.function for place in places] == ["g"]
    assert "the answer" not in str(process_failure.crashed(-11, stack, str(mine.parent)).frames)


def _no_room(*_):
    raise OSError("no room on the disk")


def test_a_file_is_written_whole_or_not_at_all(tmp_path, monkeypatch):
    file = tmp_path / "result.json"
    file.write_text("the run before")
    with monkeypatch.context() as patched, pytest.raises(OSError, match="disk"):
        patched.setattr(Path, "write_bytes", _no_room)
        write_whole(file, "this run")
    assert file.read_text() == "the run before" and list(tmp_path.iterdir()) == [file]
    write_whole(file, "half a character: \udc80")
    assert file.read_text() == "half a character: \\udc80"
    write_whole(file, "this run")
    assert file.read_text() == "this run"
