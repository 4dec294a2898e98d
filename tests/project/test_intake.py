"""What is taken from a submission, and what is not."""

import os
import shutil
import subprocess
import zipfile
from pathlib import Path

import pytest

from grader.intake import LARGEST, IntakeError, take

NAMES = ["ex01_round_trip.py", "ex02_per_channel.py"]
WHO = {"NAME": "A", "EMAIL": "a@b", "DATE": "2026-03-04T06:06:07+01:00"}


def folder(top: Path, *files: str) -> Path:
    for file in files:
        (top / file).parent.mkdir(parents=True, exist_ok=True)
        (top / file).write_text(f"# {file}\n")
    return top


def zipped(file: Path, entries: dict[str, str], mode: int = 0o644) -> Path:
    with zipfile.ZipFile(file, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, text in entries.items():
            entry = zipfile.ZipInfo(name)
            entry.external_attr = mode << 16
            archive.writestr(entry, text, zipfile.ZIP_DEFLATED)
    return file


@pytest.mark.parametrize("inside", ["", "exercises/", "my work/kata/exercises/"])
@pytest.mark.parametrize("packed", [False, True], ids=["folder", "zip"])
def test_the_files_are_found_wherever_they_are(tmp_path, inside, packed):
    files = [f"{inside}{name}" for name in NAMES]
    if packed:
        source = zipped(tmp_path / "a.zip", {file: f"# {file}\n" for file in [*files, f"{inside}notes.txt"]})
    else:
        source = folder(tmp_path / "a", *files, f"{inside}notes.txt", f"{inside}conftest.py")
    taken = take(source, tmp_path / "out", NAMES)
    assert sorted(f.name for f in (tmp_path / "out").iterdir()) == NAMES == list(taken.names)
    assert (tmp_path / "out" / NAMES[0]).read_text() == f"# {inside}{NAMES[0]}\n"


def test_of_several_folders_the_fullest_and_then_the_nearest_counts(tmp_path):
    source = folder(tmp_path / "a", "old/ex01_round_trip.py", *(f"b/c/{n}" for n in NAMES), *(f"d/{n}" for n in NAMES))
    folder(source, *(f"solutions/{n}" for n in NAMES), *(f".git/{n}" for n in NAMES))
    assert take(source, tmp_path / "out", NAMES).folder == "d"


@pytest.mark.parametrize(
    "name", ["/etc/ex01_round_trip.py", "../ex01_round_trip.py", "a/../../x.py", "C:/x.py", "..\\x.py"]
)
def test_paths_that_lead_out_are_refused(tmp_path, name):
    source = zipped(tmp_path / "a.zip", {NAMES[1]: "", name: ""})
    with pytest.raises(IntakeError, match="leads out"):
        take(source, tmp_path / "out", NAMES)


def test_links_in_a_zip_are_refused(tmp_path):
    source = zipped(tmp_path / "a.zip", {NAMES[0]: "/etc/passwd"}, mode=0o120777)
    with pytest.raises(IntakeError, match="link"):
        take(source, tmp_path / "out", NAMES)


def test_bombs_are_refused_whatever_size_they_claim(tmp_path):
    source = zipped(tmp_path / "a.zip", {NAMES[0]: "#" * (LARGEST + 1)})
    assert source.stat().st_size < 10_000
    with pytest.raises(IntakeError, match="bytes"):
        take(source, tmp_path / "out", NAMES)
    data = bytearray(source.read_bytes())
    size = (LARGEST + 1).to_bytes(4, "little")
    while (place := data.find(size)) >= 0:
        data[place : place + 4] = (10).to_bytes(4, "little")
    source.write_bytes(data)
    with pytest.raises(IntakeError):
        take(source, tmp_path / "out2", NAMES)


@pytest.mark.parametrize("what", ["empty", "no-zip", "cut", "damaged", "large", "not-there"])
def test_what_cannot_be_taken_is_said(tmp_path, what):
    source = tmp_path / "a"
    if what == "empty":
        folder(source, "readme.txt")
    elif what == "no-zip":
        source.write_bytes(b"PK\x03\x04 not really")
    elif what == "cut":
        zipped(source, {NAMES[0]: "x" * 1000})
        source.write_bytes(source.read_bytes()[:-30])
    elif what == "damaged":
        zipped(source, {NAMES[0]: "x" * 5000})
        data = bytearray(source.read_bytes())
        data[50:60] = b"\xff" * 10
        source.write_bytes(data)
    elif what == "large":
        folder(source, NAMES[0])
        (source / NAMES[0]).write_bytes(b"#" * (LARGEST + 1))
    with pytest.raises(IntakeError):
        take(source, tmp_path / "out", NAMES)


def test_the_commit_of_a_work_tree_is_read_without_git(tmp_path):
    source = folder(tmp_path / "a", *NAMES, ".git/x")
    commit = "0123456789abcdef0123456789abcdef01234567"
    (source / ".git" / "HEAD").write_text("ref: refs/heads/main\n")
    (source / ".git" / "packed-refs").write_text(f"# pack-refs\n{commit} refs/heads/main\n")
    assert take(source, tmp_path / "o1", NAMES).commit == commit
    (source / ".git" / "refs" / "heads").mkdir(parents=True)
    (source / ".git" / "refs" / "heads" / "main").write_text(commit[::-1] + "\n")
    assert take(source, tmp_path / "o2", NAMES).commit == commit[::-1]
    (source / ".git" / "HEAD").write_text(commit)
    assert take(source, tmp_path / "o3", NAMES).commit == commit
    for hostile in ("ref: refs/../../../etc/passwd", "../../x", ""):
        (source / ".git" / "HEAD").write_text(hostile)
        assert take(source, tmp_path / f"o{len(hostile) + 10}", NAMES).commit == ""


@pytest.mark.skipif(not shutil.which("git"), reason="git is not installed")
@pytest.mark.parametrize("packed", [False, True], ids=["loose", "packed"])
def test_a_work_tree_was_submitted_when_it_was_committed(tmp_path, packed):
    source = folder(tmp_path / "a", *NAMES)
    made = {f"GIT_{who}_{what}": value for who in ("AUTHOR", "COMMITTER") for what, value in WHO.items()}

    def git(*arguments):
        subprocess.run(["git", *arguments], cwd=source, env=os.environ | made, check=True, capture_output=True)

    git("init", "-q")
    git("add", ".")
    git("commit", "-q", "-m", "done\n\ncommitter A <a@b> 1 +0000")
    if packed:
        git("gc", "-q")
    (source / ".git" / "config").write_text("no settings that git could read, nor would have to [")
    taken = take(source, tmp_path / "out", NAMES)
    assert taken.commit and taken.submitted == "2026-03-04T05:06:07Z"


def test_anything_else_was_submitted_when_its_newest_file_was_written(tmp_path):
    source = folder(tmp_path / "a", *NAMES, "notes.txt")
    for day, name in enumerate([*NAMES, "notes.txt"], 1):
        os.utime(source / name, (86_400 * day, 86_400 * day))
    taken = take(source, tmp_path / "o1", NAMES)
    assert taken.submitted == "1970-01-03T00:00:00Z"
    file = tmp_path / "a.zip"
    with zipfile.ZipFile(file, "w") as archive:
        archive.writestr(zipfile.ZipInfo(NAMES[0], (2026, 3, 4, 5, 6, 8)), "")
    assert take(file, tmp_path / "o2", NAMES).submitted == "2026-03-04T05:06:08Z"


def test_equal_files_have_equal_hashes_and_others_have_not(tmp_path):
    hashes = [
        take(folder(tmp_path / name, *files), tmp_path / f"{name}-out", NAMES).contents
        for name, files in {"a": NAMES, "b": NAMES, "c": NAMES[:1]}.items()
    ]
    assert hashes[0] == hashes[1] != hashes[2]
