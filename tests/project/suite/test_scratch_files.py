"""The scratch folder that a suite shares with a student's code: no link leads out of it."""

import os

import pytest

from grader.suite.scratch_files import Files


@pytest.fixture
def scratch(tmp_path):
    """A scratch folder, and a file outside that a link in it might lead to."""
    (tmp_path / "scratch").mkdir()
    (tmp_path / "outside").mkdir()
    (tmp_path / "outside" / "file").write_text("somebody's")
    return Files(tmp_path / "scratch"), tmp_path / "scratch", tmp_path / "outside"


def test_what_is_written_is_there_to_be_read_up_to_a_limit(scratch):
    files, folder, _ = scratch
    assert files.write("new folder/deep/data", b"12345") == str(folder / "new folder" / "deep" / "data")
    assert files.read("new folder/deep/data") == b"12345" and files.read("new folder/deep/data", 2) == b"12"
    assert files.size("new folder/deep/data") == 5
    assert files.names("new folder") == ["deep", "deep/data"]


@pytest.mark.parametrize("name", ["link", "folder/file", "folder/new"])
def test_no_link_is_followed(scratch, name):
    files, folder, outside = scratch
    (folder / "link").symlink_to(outside / "file")
    (folder / "folder").symlink_to(outside)
    for use in (lambda: files.write(name, b"x"), lambda: files.read(name), lambda: files.size(name)):
        with pytest.raises(OSError):
            use()
    assert files.names("folder") == [] == files.names("folder/deeper")
    assert [file.name for file in outside.iterdir()] == ["file"] and (outside / "file").read_text() == "somebody's"


def test_what_is_there_is_not_written_over_and_a_pipe_is_not_waited_for(scratch):
    files, folder, _ = scratch
    (folder / "there").write_text("mine")
    with pytest.raises(FileExistsError):
        files.write("there", b"x")
    os.mkfifo(folder / "pipe")
    with pytest.raises(OSError, match="no regular file"):
        files.read("pipe")


def test_links_and_folders_are_no_regular_files(scratch):
    files, folder, outside = scratch
    files.write("below/file", b"")
    (folder / "link").symlink_to(outside / "file")
    assert files.names() == ["below", "below/file", "link"] and files.regular() == ["below/file"]


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can give files away")
def test_a_workers_own_user_gets_what_is_written_for_it(scratch):
    files, folder, _ = scratch
    files.owner = 200_001
    files.write("new/file", b"")
    assert {(folder / name).stat().st_uid for name in ("new", "new/file")} == {200_001}
