"""Who is in a class: submissions, rosters and what was passed over."""

import zipfile

import pytest

from grader.classroom import gradebook_csv, roster
from grader.results.errors import UsageError
from tests.project.handing_in import fill


def test_a_damaged_zip_is_one_students_affair(tmp_path):
    with zipfile.ZipFile(tmp_path / "a.zip", "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("ex01_round_trip.py", "# " + "x" * 5000)
    data = bytearray((tmp_path / "a.zip").read_bytes())
    data[60:70] = b"\xff" * 10
    (tmp_path / "a.zip").write_bytes(data)
    member = roster.Member("a", tmp_path / "a.zip")
    roster.take_in([member], tmp_path)
    assert "cannot be taken" in member.refused and "unpacked" in member.refused


@pytest.mark.parametrize(
    "contents, says",
    [
        *[("", "no rows"), ("folder,name\n", "no rows"), ("folder,name\na,A\na,B\n", "twice")],
        *[(None, "cannot be read"), ("folder,name\nJos\xe9,J\n".encode("latin-1"), "save it as CSV UTF-8")],
        ("folder,name\na,A\n".encode("utf-16-le"), "save it as CSV UTF-8"),
    ],
)
def test_a_roster_that_is_none_is_said(tmp_path, contents, says):
    (tmp_path / "in" / "a").mkdir(parents=True)
    file = tmp_path / "roster.csv"
    if contents is not None:
        file.write_bytes(contents if isinstance(contents, bytes) else contents.encode())
    with pytest.raises(UsageError, match=says):
        roster.found(tmp_path / "in", file)


@pytest.mark.parametrize(
    "contents",
    [
        *["folder;name\nJos\xe9;J\nann;A\n", "sep=;\r\nfolder;name\r\nJos\xe9;J\r\nann;A\r\n"],
        *["folder\tname\nJos\xe9\tJ\nann\tA\n", "\n\n;;\nfolder;name, first\nJos\xe9;J\nann;A\n"],
        *[
            "name,folder\nJ,Jose\u0301\nA,ann\n",
            "\ufefffolder,name\nJOS\xc9,J\nAnn/,A\n",
            "folder,name\nJos\xe9.zip,J\nann,A\n",
        ],
        "folder\tname\nJos\xe9\tJ\nann\tA\n".encode("utf-16"),
    ],
)
def test_rosters_as_spreadsheets_write_them(tmp_path, contents):
    for name in ("Jos\xe9", "ann"):
        (tmp_path / "in" / name).mkdir(parents=True)
    file = tmp_path / "roster.csv"
    file.write_bytes(contents if isinstance(contents, bytes) else contents.encode())
    everybody, _ = roster.found(tmp_path / "in", file)
    assert {m.name: next(iter(m.known.values()), "") for m in everybody} == {"Jos\xe9": "J", "ann": "A"}
    assert not any(m.note for m in everybody) and not roster.doubts(everybody)


def test_a_roster_of_another_class_is_doubted(tmp_path):
    (tmp_path / "in" / "ann").mkdir(parents=True)
    (tmp_path / "roster.csv").write_text("name,email\nAnn Lee,ann\n")
    everybody, _ = roster.found(tmp_path / "in", tmp_path / "roster.csv")
    (doubt,) = roster.doubts(everybody)
    assert "'Ann Lee'" in doubt and "'ann'" in doubt


def test_what_was_passed_over_is_in_its_students_row(tmp_path):
    top = tmp_path / "in"
    for name in ("eve", "__MACOSX"):
        (top / name).mkdir(parents=True)
    for name in ("ann.tar.gz", "bob.py", "fay.pdf"):
        (top / name).write_text("")
    (top / "cem").symlink_to(top / "eve")
    (tmp_path / "roster.csv").write_text("folder\nann\nbob\ncem\ndot\neve\nfay\n")
    everybody, passed_over = roster.found(top, tmp_path / "roster.csv")
    statuses = {m.name: gradebook_csv.status_of(m) for m in everybody}
    assert statuses == {
        "eve": "not graded yet",
        "ann": "ann.tar.gz is there: unpack it",
        "bob": "bob.py is there: put it into a folder of the student's",
        "cem": "cem is there, and is a link: put the folder itself there",
        "dot": "nothing handed in",
        "fay": "fay.pdf is neither a folder nor a zip",
    }
    assert passed_over == ["ann.tar.gz", "bob.py", "cem", "fay.pdf"]


def test_a_class_within_a_folder_is_doubted(tmp_path):
    fill(tmp_path / "in" / "Assignment 1" / "ann")
    fill(tmp_path / "in" / "Assignment 1" / "bob" / "exercises")
    fill(tmp_path / "in" / "cem" / "exercises")
    fill(tmp_path / "in" / "cem" / "solutions")
    (doubt,) = roster.doubts(roster.found(tmp_path / "in", None)[0])
    assert "Assignment 1 has several folders with exercises (ann, bob)" in doubt


def test_nobody_is_lost_for_a_name(tmp_path):
    (tmp_path / "jo").mkdir()
    for name in ("jo.zip", "jo.zip.zip", "kim.zip"):
        (tmp_path / name).write_bytes(b"")
    everybody, _ = roster.found(tmp_path, None)
    assert [(m.name, m.submission.name) for m in everybody] == [
        *[("jo", "jo"), ("jo.zip", "jo.zip"), ("jo.zip.zip", "jo.zip.zip"), ("kim", "kim.zip")]
    ]


def test_a_folder_and_a_zip_of_one_name_are_two_students(tmp_path):
    (tmp_path / "jo").mkdir()
    (tmp_path / "jo.zip").write_bytes(b"")
    (tmp_path / "link").symlink_to(tmp_path / "jo")
    everybody, passed_over = roster.found(tmp_path, None)
    assert [member.name for member in everybody] == ["jo", "jo.zip"] and passed_over == ["link"]
