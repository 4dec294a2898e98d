"""Folders in which a stranger's code was at work: they go, and nothing that they hold costs a result."""

import os

from grader import losses
from grader.scratch import scratch_folder


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


def test_a_stack_that_a_student_wrote_shows_no_file_but_the_students(tmp_path):
    mine = tmp_path / "exercises" / "ex01.py"
    secret = tmp_path / "secret"
    mine.parent.mkdir()
    mine.write_text("mine\n")
    secret.write_text("the answer\n")
    stack = f'  File "{mine.parent}/../secret", line 1 in f\n  File "{mine}", line 1 in g\n'
    places = losses.own_frames(stack, str(mine.parent))
    assert [place.function for place in places] == ["g"]
    assert "the answer" not in losses.crashed(-11, stack, str(mine.parent)).place.__str__()
