"""What is taken from a submission, and what is not."""

import os
import shutil
import subprocess
import tempfile
import zipfile
from pathlib import Path

import pytest

from grader.classroom import intake
from grader.classroom.intake import LARGEST, MOST, IntakeError, take
from grader.results.paths import ROOT

NAMES = ["ex01_round_trip.py", "ex02_per_channel.py"]
needs_git = pytest.mark.skipif(not shutil.which("git"), reason="git is not installed")
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


@pytest.mark.parametrize("packed", [False, True], ids=["folder", "zip"])
def test_what_was_handed_out_does_not_hide_what_was_done(tmp_path, packed):
    """Somebody solved one exercise beside the folder that everybody got."""
    handed_out = {name: (ROOT / "exercises" / name).read_bytes().replace(b"\n", b"\r\n") for name in NAMES}
    files = {f"kata/exercises/{name}": data for name, data in handed_out.items()} | {NAMES[0]: b"mine"}
    source = folder(tmp_path / "a", *files)
    for name, data in files.items():
        (source / name).write_bytes(data)
    if packed:
        source = zipped(tmp_path / "a.zip", files)
    taken = take(source, tmp_path / "out", NAMES)
    assert (taken.folder, taken.names) == (".", (NAMES[0],))
    assert taken.source == "what lies in the top folder, and not in kata/exercises/"


def test_a_lone_zip_in_a_folder_is_the_submission(tmp_path):
    (tmp_path / "a").mkdir()
    zipped(tmp_path / "a" / "kata.zip", {f"exercises/{NAMES[0]}": "mine"})
    assert take(tmp_path / "a", tmp_path / "out", NAMES).folder == "exercises"
    zipped(tmp_path / "a" / "older.zip", {f"exercises/{NAMES[0]}": "mine"})
    with pytest.raises(IntakeError, match=r"none of .* packed once more: kata.zip, older.zip"):
        take(tmp_path / "a", tmp_path / "o2", NAMES)


@pytest.mark.parametrize(
    "file, says",
    [
        ("ex01_round_trip-1.py", "called otherwise: ex01_round_trip-1.py"),
        ("jo_123_Ex01-Round Trip.PY.txt", "called otherwise: jo_123"),
        ("work/solutions/ex01_round_trip.py", "passed over: work/solutions"),
    ],
)
@pytest.mark.parametrize("packed", [False, True], ids=["folder", "zip"])
def test_work_of_another_name_or_place_is_named(tmp_path, file, says, packed):
    source = zipped(tmp_path / "a.zip", {file: "mine"}) if packed else folder(tmp_path / "a", file, "notes.txt")
    with pytest.raises(IntakeError) as error:
        take(source, tmp_path / "out", NAMES)
    assert "has none of the exercises' files" in str(error.value) and says in str(error.value)
    assert "notes" not in str(error.value)


@pytest.mark.parametrize("what", ["file", "folder", "all of it"])
def test_what_nobody_may_read_is_the_submissions_affair(what):
    with tempfile.TemporaryDirectory() as place:  # one that others may pass through
        os.chmod(place, 0o755)
        source = folder(Path(place, "a"), f"exercises/{NAMES[0]}")
        {"file": source / "exercises" / NAMES[0], "folder": source / "exercises", "all of it": source}[what].chmod(0)
        os.chmod(place, 0o777)
        before = os.geteuid()
        if before == 0:
            os.seteuid(65534)
        try:
            with pytest.raises(IntakeError, match="cannot be read"):
                take(source, Path(place, "out"), NAMES)
        finally:
            os.seteuid(before)
            for path in (source, source / "exercises"):
                path.chmod(0o755)


@pytest.mark.parametrize(
    "name", ["/etc/ex01_round_trip.py", "../ex01_round_trip.py", "a/../../x.py", "C:/x.py", "..\\x.py"]
)
def test_paths_that_lead_out_are_refused(tmp_path, name):
    source = zipped(tmp_path / "a.zip", {NAMES[1]: "", name: ""})
    with pytest.raises(IntakeError, match="leads out"):
        take(source, tmp_path / "out", NAMES)


@pytest.mark.parametrize("link", [NAMES[0], "exercises"], ids=["file", "folder"])
def test_links_in_a_zip_are_refused(tmp_path, link):
    source = zipped(tmp_path / "a.zip", {link: "/etc/passwd"}, mode=0o120777)
    if link == "exercises":
        with zipfile.ZipFile(source, "a") as archive:
            archive.writestr(f"{link}/{NAMES[0]}", "")
    with pytest.raises(IntakeError, match="link"):
        take(source, tmp_path / "out", NAMES)


def test_links_elsewhere_in_a_zip_are_passed_over(tmp_path):
    links = [".venv/bin/python", "kata/node/bin/link", f"kata/build/{NAMES[0]}"]
    source = zipped(tmp_path / "a.zip", dict.fromkeys(links, "/usr/bin/python3"), mode=0o120777)
    with zipfile.ZipFile(source, "a") as archive:
        archive.writestr(f"kata/exercises/{NAMES[0]}", "mine")
    assert take(source, tmp_path / "out", NAMES).folder == "kata/exercises"
    assert (tmp_path / "out" / NAMES[0]).read_text() == "mine"


def test_links_elsewhere_in_a_folder_are_passed_over(tmp_path):
    source = folder(tmp_path / "a", f"exercises/{NAMES[0]}", "build/notes.txt")
    for name in NAMES:
        (source / "build" / name).symlink_to(f"../exercises/{NAMES[0]}")
    assert take(source, tmp_path / "out", NAMES).folder == "exercises"
    (source / "exercises" / NAMES[1]).symlink_to(NAMES[0])
    with pytest.raises(IntakeError, match=f"exercises/{NAMES[1]} is no regular file"):
        take(source, tmp_path / "o2", NAMES)


def test_what_is_passed_over_does_not_count(tmp_path):
    """A working folder is packed with its environment, as often as not."""
    environment = {f"kata/.venv/lib/x{n}.py": "" for n in range(MOST + 1)}
    source = zipped(tmp_path / "a.zip", environment | {f"kata/exercises/{NAMES[0]}": "mine"})
    assert take(source, tmp_path / "out", NAMES).names == (NAMES[0],)
    with pytest.raises(IntakeError, match="leads out"):
        take(zipped(tmp_path / "b.zip", {NAMES[0]: "", "../.venv/x": ""}), tmp_path / "o2", NAMES)


def test_too_many_files_are_refused(tmp_path, monkeypatch):
    others = {f"x{n}.py": "" for n in range(MOST)}
    with pytest.raises(IntakeError, match="more than 20,000 files"):
        take(zipped(tmp_path / "a.zip", others | {NAMES[0]: ""}), tmp_path / "out", NAMES)
    monkeypatch.setattr(intake, "MOST_PACKED", 2)
    with pytest.raises(IntakeError, match="more than 2 entries"):
        take(zipped(tmp_path / "b.zip", {".venv/a": "", ".venv/b": "", NAMES[0]: ""}), tmp_path / "o2", NAMES)


@pytest.mark.parametrize("packed", [False, True], ids=["folder", "zip"])
def test_a_file_that_is_too_large_costs_no_other(tmp_path, packed):
    large = "#" * (LARGEST + 1)
    source = folder(tmp_path / "a", *NAMES)
    (source / NAMES[0]).write_text(large)
    if packed:
        source = zipped(tmp_path / "a.zip", {NAMES[0]: large, NAMES[1]: ""})
    taken = take(source, tmp_path / "out", NAMES)
    assert taken.names == (NAMES[1],) and list(taken.left) == [NAMES[0]]
    assert [f.name for f in taken.place.iterdir()] == [NAMES[1]] and "1,048,576 bytes" in taken.left[NAMES[0]]


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


def committed(source: Path) -> Path:
    """A folder that becomes a git work tree, with one commit."""
    made = {f"GIT_{who}_{what}": value for who in ("AUTHOR", "COMMITTER") for what, value in WHO.items()}
    for arguments in (["init", "-q"], ["add", "."], ["commit", "-q", "-m", "done\n\ncommitter A <a@b> 1 +0000"]):
        subprocess.run(["git", *arguments], cwd=source, env=os.environ | made, check=True, capture_output=True)
    return source


@needs_git
@pytest.mark.parametrize("packed", [False, True], ids=["loose", "packed"])
def test_a_work_tree_was_submitted_when_it_was_committed(tmp_path, packed):
    source = committed(folder(tmp_path / "a", *NAMES))
    if packed:
        subprocess.run(["git", "gc", "-q"], cwd=source, check=True, capture_output=True)
    (source / ".git" / "config").write_text("no settings that git could read, nor would have to [")
    taken = take(source, tmp_path / "out", NAMES)
    assert taken.commit and taken.submitted == "2026-03-04T05:06:07Z"


@needs_git
@pytest.mark.parametrize(
    "what", [".git", ".git/HEAD", ".git/refs", ".git/objects", ".git/objects/pack", "alternates", "a file for .git"]
)
def test_another_repository_says_nothing_about_a_submission(tmp_path, what):
    other = committed(folder(tmp_path / "other", *NAMES)) / ".git"
    if what == ".git/objects/pack":
        subprocess.run(["git", "gc", "-q"], cwd=other, check=True, capture_output=True)
    source = folder(tmp_path / "a", *NAMES)
    for name in NAMES:
        os.utime(source / name, (86_400, 86_400))
    if what == ".git":
        (source / ".git").symlink_to(other)
    elif what == "a file for .git":
        (source / ".git").write_text(f"gitdir: {other}\n")
    elif what == "alternates":
        shutil.copytree(other, source / ".git", ignore=lambda *_: ["objects"])
        folder(source, ".git/objects/info/alternates")
        (source / ".git" / "objects" / "info" / "alternates").write_text(f"{other / 'objects'}\n")
    else:
        shutil.copytree(other, source / ".git", ignore=lambda place, _: [Path(what).name])
        (source / what).symlink_to(other.parent / what)
    taken = take(source, tmp_path / "out", NAMES)
    assert taken.submitted == "1970-01-02T00:00:00Z"
    assert bool(taken.commit) == (what in (".git/objects", ".git/objects/pack", "alternates"))


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
