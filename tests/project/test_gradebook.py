"""`nox -s gradebook`: a class is graded whole, whatever is in it and however often it is stopped."""

import csv
import errno
import os
import shutil
import signal
import subprocess
import sys
import threading
import time
import zipfile
from dataclasses import replace
from types import SimpleNamespace

import pytest

from grader import command, gradebook, members, syllabus, tables
from grader import desk as desk_of
from grader.children import StartError
from grader.command import UsageError
from grader.grade import Guarded, nothing
from grader.runner import suite_hash
from grader.sandbox import walls
from tests.project import graded
from tests.project.test_hostile import SAMPLES, mentioned

SOLUTIONS = graded.ROOT / "solutions"
ONLY = ("--only", "ex01", "--only", "ex02")


def rows(file):
    with file.open(newline="") as opened:
        return list(csv.DictReader(opened))


def fill(folder, **instead):
    """A submission: the solutions, with other files in the place of some."""
    folder.mkdir(parents=True)
    for file in SOLUTIONS.glob("ex*.py"):
        shutil.copyfile(instead.get(file.stem[:4], file), folder / file.name)
    return folder


@pytest.fixture
def submissions(tmp_path):
    """Four of a class: right, a stub as a zip, wrong, and one that ends its interpreter."""
    top = tmp_path / "submissions"
    fill(top / "ann")
    fill(tmp_path / "bob", ex01=graded.ROOT / "exercises" / "ex01_round_trip.py")
    with zipfile.ZipFile(top / "bob.zip", "w") as archive:
        for file in (tmp_path / "bob").glob("*.py"):
            archive.write(file, f"bob's work/{file.name}")
    fill(top / "cem", ex01=SAMPLES / "wrong.py")
    fill(top / "dot", ex01=SAMPLES / "exit_in_a_call.py")
    (top / "read me.txt").write_text("for the teacher")
    return top


@pytest.mark.timeout(400)
def test_a_class_that_is_stopped_and_killed_goes_on_where_it_was(submissions, tmp_path):
    out, roster, scratch = tmp_path / "out", tmp_path / "roster.csv", tmp_path / "scratch"
    scratch.mkdir()
    roster.write_text("folder,name\nann,=Ann\nbob,Bob\ncem,Cem\ndot,Dot\neve,Eve\n")
    command = [sys.executable, "-m", "grader.gradebook", str(submissions), "--out", str(out), *ONLY, "--plain"]
    command += ["--roster", str(roster), "--deadline", "5"]
    environment = os.environ | {"TMPDIR": str(scratch)}
    deadline = time.monotonic() + 240
    process = subprocess.Popen(command, cwd=graded.ROOT, env=environment, stderr=subprocess.PIPE, text=True)
    while not list(scratch.glob("kata-class-*/kata-grade-*/stages/*")):
        assert time.monotonic() < deadline and process.poll() is None
        time.sleep(0.05)
    process.send_signal(signal.SIGINT)
    assert "give the same command again" in process.communicate(timeout=60)[1] and process.returncode == 130
    assert not list(scratch.iterdir()) and not list(out.glob("students/*/*"))

    process = subprocess.Popen(command, cwd=graded.ROOT, env=environment, stdout=subprocess.DEVNULL)
    while not (done := list(out.glob("students/*/kata.json"))):
        assert time.monotonic() < deadline and process.poll() is None
        time.sleep(0.05)
    process.send_signal(signal.SIGKILL)
    process.wait()
    before = {row["student"]: row for row in rows(out / "gradebook.csv")}
    assert sum(row["status"] == "not graded yet" for row in before.values()) >= 2
    assert all(row["points"] == "0" for row in before.values() if row["status"] != "graded")
    while mentioned(str(tmp_path)):
        assert time.monotonic() < deadline
        time.sleep(0.1)
    stamps = {file: file.stat().st_mtime_ns for file in done}

    assert list(scratch.glob("kata-class-*"))

    again = subprocess.run(command, cwd=graded.ROOT, env=environment, capture_output=True, text=True)
    assert again.returncode == 0, again.stderr
    assert "passed over: read me.txt" in again.stdout and "4 graded in" in again.stdout
    assert {file: file.stat().st_mtime_ns for file in stamps} == stamps
    after = {row["student"]: row for row in rows(out / "gradebook.csv")}
    assert {name: row["points"] for name, row in after.items()} == {
        "ann": "20",
        "bob": "10",
        "cem": "14",
        "dot": "10",
        "eve": "0",
    }
    assert after["ann"]["name"] == "'=Ann" and after["eve"]["status"] == "nothing handed in"
    assert after["bob"]["reference stood in for"] == "ex01"
    assert {row["seed"] for row in after.values()} == {"1", ""} and after["ann"]["suite"]
    assert after["ann"]["submitted"].endswith("Z") and after["ann"]["sandbox"]
    tests = {row["test"]: row for row in rows(out / "items.csv")}
    assert tests["every weight gets the nearest code"]["students"] == "4"
    assert tests["every weight gets the nearest code"]["share passed"] == "0.25"
    assert "floors (1)" in tests["every weight gets the nearest code"]["commonest mistakes"]
    assert "an answer that rounds down" in (out / "students" / "cem" / "feedback.txt").read_text()
    assert not mentioned(str(tmp_path)) and not list(scratch.iterdir())
    assert not (out / "students" / "ann" / "first.json").exists()


@pytest.fixture
def desk(tmp_path):
    """desk(grade) with three members and the exercises ex01, ex08 and ex09, where grade is all that happens."""

    def make(grade, everybody=None, only=("ex01", "ex08", "ex09")):
        exercises = [syllabus.find(name, syllabus.load()) for name in only]
        everybody = everybody or [members.Member(name, tmp_path / name, contents=name) for name in ("a", "b", "c")]
        built = walls.Walls("none", False)
        rules = desk_of.Class(1, "", tuple(e.name for e in exercises), True, "none", None)
        made = desk_of.Desk(everybody, exercises, rules, built, tmp_path / "out", 2, lambda *_: None)
        (tmp_path / "out").mkdir(exist_ok=True)
        contents = {member.name: member.contents for member in everybody}

        def graded_as_taken(submission, *rest, stopped):
            result = grade(submission, *rest)
            result.contents = result.contents or contents[submission.name]
            return result

        grade_before = desk_of.grade
        desk_of.grade = graded_as_taken
        try:
            made.work()
        finally:
            desk_of.grade = grade_before
        return everybody

    return make


@pytest.mark.timeout(60)
def test_what_ctrl_c_ends_has_no_result(tmp_path, monkeypatch):
    """Nor do exercises that come after the one under way, whose files are removed."""

    def interrupt(*_):
        monkeypatch.setattr(desk_of._Timer, "testing", lambda *_: None)
        os.kill(os.getpid(), signal.SIGINT)

    monkeypatch.setattr(desk_of._Timer, "testing", interrupt)
    member = members.Member("ann", fill(tmp_path / "in" / "ann"))
    members.take_in([member], tmp_path / "taken")
    exercises = [syllabus.find(name, syllabus.load()) for name in ("ex01", "ex02", "ex04")]
    built = walls.best()
    rules = desk_of.Class(1, "", tuple(e.name for e in exercises), True, built.tier, None)
    desk = desk_of.Desk([member], exercises, rules, built, tmp_path / "out", 2, lambda *_: None)
    before = threading.active_count()
    with pytest.raises(KeyboardInterrupt):
        desk.work()
    until = time.monotonic() + 10
    while threading.active_count() > before and time.monotonic() < until:
        time.sleep(0.1)
    assert threading.active_count() == before and member.result is None and not list(tmp_path.glob("out/**/*.*"))
    assert not desk.scratch.exists()


def test_nothing_is_written_once_all_is_to_stop(desk, tmp_path):
    told = []

    def grade(submission, exercises, *rest):
        told.append(submission.name)
        os.kill(os.getpid(), signal.SIGINT)
        time.sleep(1)
        return stand_in(submission, exercises)

    with pytest.raises(KeyboardInterrupt):
        desk(grade)
    time.sleep(1)
    assert len(told) <= 2 and not list(tmp_path.glob("out/**/*.*"))


def test_a_file_that_was_taken_and_is_gone_is_no_mistake_of_the_students(tmp_path):
    names = ["ex01_round_trip.py", "ex02_per_channel.py"]
    shutil.copyfile(SOLUTIONS / names[0], tmp_path / names[0])
    taken = SimpleNamespace(place=tmp_path, names=names, left={})
    guard = Guarded(taken, tmp_path / "stages", walls.PRACTICE, True)
    one, two, three = syllabus.load()[:3]
    assert guard.known(one) is None and "there is no ex03" in guard.known(three).functions[0].message
    with pytest.raises(FileNotFoundError):
        guard.known(two)
    with pytest.raises(FileNotFoundError):
        guard.stage(one, {})


def timed_out(result):
    for function in result.exercises[0].functions[:1]:
        function.outcome, function.kind, function.earned = "timeout", "", 0
    return result


def passed(result):
    for function in result.functions:
        function.outcome, function.kind, function.earned = "passed", "", function.points
    return result


def test_whoever_was_too_slow_beside_others_is_tried_again_alone(desk):
    asked, running, lock = [], [], threading.Lock()

    def grade(submission, exercises, *rest):
        with lock:
            running.append(submission.name)
            names = [e.short for e in exercises]
            asked.append((submission.name, names, len(running)))
            first_time = asked.count((submission.name, names, 1)) + asked.count((submission.name, names, 2)) == 1
        time.sleep(0.1)
        with lock:
            running.remove(submission.name)
        result = passed(stand_in(submission, exercises))
        if names == ["ex01", "ex02"]:
            timed_out(result)
            result.exercises[1].stood_in = ["ex01_round_trip"]
        if submission.name == "b" and names == ["ex01"]:
            timed_out(result)
        assert first_time
        return result

    a, b, c = desk(grade, only=("ex01", "ex02", "ex08"))
    alone = [(name, exercises, beside) for name, exercises, beside in asked if exercises != ["ex01", "ex02"]]
    assert alone == [
        *[("a", ["ex01"], 1), ("a", ["ex02", "ex08"], 1)],
        *[("b", ["ex01"], 1), ("b", ["ex08"], 1)],
        *[("c", ["ex01"], 1), ("c", ["ex02", "ex08"], 1)],
    ]
    assert a.result.earned == c.result.earned == 30 and b.result.earned < 30
    assert a.result.exercises[1].stood_in == [] and b.result.exercises[1].stood_in == ["ex01_round_trip"]


def test_it_is_tried_again_where_nothing_is_timed_as_well(desk):
    asked = []

    def grade(submission, exercises, *rest):
        asked.append(submission.name)
        result = passed(stand_in(submission, exercises))
        return timed_out(result) if asked.count("b") == 1 and submission.name == "b" else result

    assert [member.result.earned for member in desk(grade, only=("ex01",))] == [10, 10, 10]
    assert sorted(asked) == ["a", "b", "b", "c"]


def test_a_first_round_that_went_wrong_is_graded_again_in_full(desk):
    asked = []

    def grade(submission, exercises, *rest):
        asked.append(submission.name)
        if submission.name == "b" and asked.count("b") == 1:
            raise ZeroDivisionError("oh")
        return stand_in(submission, exercises)

    a, b, c = desk(grade)
    assert [e.name[:4] for e in b.result.exercises] == ["ex01", "ex08", "ex09"] and not b.result.broken


def test_what_changes_while_it_is_graded_has_no_result_under_another_hash(desk):
    def grade(submission, exercises, *rest):
        result = passed(stand_in(submission, exercises))
        result.contents = "something else" if submission.name == "b" else ""
        return result

    a, b, c = desk(grade)
    assert "changed while" in b.result.broken and b.result.earned == 0 and a.result.earned == 30


def test_a_refusal_says_what_the_matter_is_now(desk, tmp_path):
    def grade(*_):
        raise AssertionError("there is nothing to grade")

    for why in ("no zip", "too large"):
        member = members.Member("a", tmp_path / "a.zip", refused=f"cannot be taken: {why}", contents="none")
        desk(grade, [member])
        assert why in (tmp_path / "out" / "students" / "a" / "feedback.txt").read_text()


def stand_in(submission, exercises, *_, **__):
    return nothing(submission, exercises, 1, "graded", "none")


def test_what_is_timed_has_the_machine_to_itself(desk):
    running, seen, lock = [], [], threading.Lock()

    def grade(submission, exercises, *rest):
        with lock:
            running.append(submission.name)
            seen.append((exercises[0].name, len(running)))
        time.sleep(0.1)
        with lock:
            running.remove(submission.name)
        return stand_in(submission, exercises)

    desk(grade)
    assert max(n for name, n in seen if name.startswith("ex01")) == 2
    assert [n for name, n in seen if name.startswith("ex08")] == [1, 1, 1]
    assert [name[:4] for name, _ in seen] == ["ex01"] * 3 + ["ex08"] * 3


def test_a_second_round_builds_on_the_first_and_a_third_run_grades_nothing(desk):
    asked = []

    def stopped(submission, exercises, *rest):
        asked.append((submission.name, [e.short for e in exercises], [e.name[:4] for e in rest[-1]]))
        if len(asked) == 5:
            raise StartError("the machine is gone")
        return stand_in(submission, exercises)

    with pytest.raises(StartError):
        desk(stopped)
    assert asked[3:] == [(name, ["ex08", "ex09"], ["ex01"]) for name in ("a", "b")]
    asked.clear()
    everybody = desk(stopped)
    assert asked == [(name, ["ex08", "ex09"], ["ex01"]) for name in ("b", "c")]
    assert all([e.name[:4] for e in member.result.exercises] == ["ex01", "ex08", "ex09"] for member in everybody)
    asked.clear()
    desk(stopped)
    assert asked == []
    (again,) = desk(stopped, [replace(member, contents="handed in again") for member in everybody[:1]])
    assert asked == [("a", ["ex01"], []), ("a", ["ex08", "ex09"], ["ex01"])]
    assert [e.name[:4] for e in again.result.exercises] == ["ex01", "ex08", "ex09"]


def test_a_fault_of_the_graders_costs_one_submission(desk):
    def grade(submission, exercises, *rest):
        if submission.name == "b":
            raise ZeroDivisionError("oh")
        return stand_in(submission, exercises)

    a, b, c = desk(grade)
    assert "the grader stumbled: ZeroDivisionError: oh" in b.result.broken and b.result.earned == 0
    assert a.result and c.result and tables.status_of(b).startswith("not graded: ")
    a, b, c = desk(stand_in)  # what was no fault of the submission's is tried again
    assert not b.result.broken and tables.status_of(b) == "graded"


def test_what_students_say_can_always_be_written_down(desk):
    def grade(submission, exercises, *rest):
        return nothing(submission, exercises, 1, "half a character: \ud800", "none")

    assert all(member.result for member in desk(grade))


def test_a_damaged_zip_is_one_students_affair(tmp_path):
    with zipfile.ZipFile(tmp_path / "a.zip", "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("ex01_round_trip.py", "# " + "x" * 5000)
    data = bytearray((tmp_path / "a.zip").read_bytes())
    data[60:70] = b"\xff" * 10
    (tmp_path / "a.zip").write_bytes(data)
    member = members.Member("a", tmp_path / "a.zip")
    members.take_in([member], tmp_path)
    assert "cannot be taken" in member.refused and "unpacked" in member.refused


def test_columns_of_the_roster_do_not_hide_ours():
    member = members.Member("jo", None, {"student": "Jo", "points": "99", "email": "jo@example.org"})
    text = tables.students([member], syllabus.load(), {})
    (row,) = csv.DictReader(text.splitlines())
    assert (row["student"], row["points"]) == ("jo", "0")
    assert (row["roster student"], row["roster points"], row["email"]) == ("Jo", "99", "jo@example.org")


def test_only_what_builds_on_what_is_timed_waits_for_it():
    first, alone = desk_of.rounds(syllabus.load())
    assert [e.short for e in alone] == ["ex08", "ex09"]
    assert [e.short for e in first] == [e.short for e in syllabus.load() if e not in alone]


@pytest.mark.parametrize(
    "roster, says",
    [
        *[("", "no rows"), ("folder,name\n", "no rows"), ("folder,name\na,A\na,B\n", "twice")],
        *[(None, "cannot be read"), ("folder,name\nJos\xe9,J\n".encode("latin-1"), "save it as CSV UTF-8")],
        ("folder,name\na,A\n".encode("utf-16-le"), "save it as CSV UTF-8"),
    ],
)
def test_a_roster_that_is_none_is_said(tmp_path, roster, says):
    (tmp_path / "in" / "a").mkdir(parents=True)
    file = tmp_path / "roster.csv"
    if roster is not None:
        file.write_bytes(roster if isinstance(roster, bytes) else roster.encode())
    with pytest.raises(UsageError, match=says):
        members.found(tmp_path / "in", file)


@pytest.mark.parametrize(
    "roster",
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
def test_rosters_as_spreadsheets_write_them(tmp_path, roster):
    for name in ("Jos\xe9", "ann"):
        (tmp_path / "in" / name).mkdir(parents=True)
    file = tmp_path / "roster.csv"
    file.write_bytes(roster if isinstance(roster, bytes) else roster.encode())
    everybody, _ = members.found(tmp_path / "in", file)
    assert {m.name: next(iter(m.known.values()), "") for m in everybody} == {"Jos\xe9": "J", "ann": "A"}
    assert not any(m.note for m in everybody) and not members.doubts(everybody)


def test_a_roster_of_another_class_is_doubted(tmp_path):
    (tmp_path / "in" / "ann").mkdir(parents=True)
    (tmp_path / "roster.csv").write_text("name,email\nAnn Lee,ann\n")
    everybody, _ = members.found(tmp_path / "in", tmp_path / "roster.csv")
    (doubt,) = members.doubts(everybody)
    assert "'Ann Lee'" in doubt and "'ann'" in doubt


def test_what_was_passed_over_is_in_its_students_row(tmp_path):
    top = tmp_path / "in"
    for name in ("eve", "__MACOSX"):
        (top / name).mkdir(parents=True)
    for name in ("ann.tar.gz", "bob.py", "fay.pdf"):
        (top / name).write_text("")
    (top / "cem").symlink_to(top / "eve")
    (tmp_path / "roster.csv").write_text("folder\nann\nbob\ncem\ndot\neve\nfay\n")
    everybody, passed_over = members.found(top, tmp_path / "roster.csv")
    statuses = {m.name: tables.status_of(m) for m in everybody}
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
    (doubt,) = members.doubts(members.found(tmp_path / "in", None)[0])
    assert "Assignment 1 has several folders with exercises (ann, bob)" in doubt


def test_nobody_is_lost_for_a_name(tmp_path):
    (tmp_path / "jo").mkdir()
    for name in ("jo.zip", "jo.zip.zip", "kim.zip"):
        (tmp_path / name).write_bytes(b"")
    everybody, _ = members.found(tmp_path, None)
    assert [(m.name, m.submission.name) for m in everybody] == [
        *[("jo", "jo"), ("jo.zip", "jo.zip"), ("jo.zip.zip", "jo.zip.zip"), ("kim", "kim.zip")]
    ]


def test_a_folder_and_a_zip_of_one_name_are_two_students(tmp_path):
    (tmp_path / "jo").mkdir()
    (tmp_path / "jo.zip").write_bytes(b"")
    (tmp_path / "link").symlink_to(tmp_path / "jo")
    everybody, passed_over = members.found(tmp_path, None)
    assert [member.name for member in everybody] == ["jo", "jo.zip"] and passed_over == ["link"]


def test_a_table_holds_no_formula(tmp_path):
    member = members.Member("=1+1", None, {"=cmd": "@x", "+a": "\uff1d1"}, note="nothing handed in")
    names, row = list(csv.reader(tables.students([member], syllabus.load(), {}).splitlines()))
    assert row[0] == "'=1+1" and {"'=cmd", "'+a"} <= set(names) and {"'@x", "'\uff1d1"} <= set(row)


def test_what_was_not_graded_is_no_failed_try():
    exercises = syllabus.load()[:1]
    good = passed(nothing(SOLUTIONS, exercises, 1, "", "none"))
    broken = nothing(SOLUTIONS, exercises, 1, "the disk is full", "none", kind="environment")
    everybody = [members.Member(name, SOLUTIONS, result=r) for name, r in (("a", good), ("b", broken))]
    first = next(csv.DictReader(tables.items(everybody, exercises).splitlines()))
    assert (first["students"], first["share passed"]) == ("1", "1.0")


@pytest.mark.parametrize("seconds", ["nan", "-3", "0", "inf", "301", "soon"])
def test_a_deadline_that_is_none_is_said(tmp_path, capsys, seconds):
    with pytest.raises(SystemExit) as stop:
        gradebook.main([str(tmp_path), "--out", str(tmp_path / "out"), f"--deadline={seconds}"])
    assert stop.value.code == 2 and "seconds from 1 to 300" in capsys.readouterr().err


def test_one_run_at_a_time_writes_into_a_folder(tmp_path, capsys):
    fill(tmp_path / "in" / "a")
    with gradebook._sole(tmp_path / "out"):
        assert gradebook.main([str(tmp_path / "in"), "--out", str(tmp_path / "out")]) == 2
    assert "another run is at work" in capsys.readouterr().err


@pytest.mark.parametrize("out", ["", "out", "a/out"])
def test_results_do_not_lie_among_submissions(tmp_path, capsys, out):
    fill(tmp_path / "in" / "a")
    assert gradebook.main([str(tmp_path / "in"), "--out", str(tmp_path / "in" / out)]) == 2
    assert "name a folder beside it" in capsys.readouterr().err


def test_a_class_file_that_is_damaged_is_said(tmp_path, capsys):
    fill(tmp_path / "in" / "a")
    (tmp_path / "out").mkdir()
    for damaged in ("{", "[1]", '"x"'):
        (tmp_path / "out" / "class.json").write_text(damaged)
        assert gradebook.main([str(tmp_path / "in"), "--out", str(tmp_path / "out"), "--only", "ex01"]) == 2
        assert "class.json is damaged" in capsys.readouterr().err


def test_what_cannot_be_written_is_said_in_a_line(tmp_path, capsys):
    fill(tmp_path / "in" / "a")
    (tmp_path / "file").write_text("")
    (tmp_path / "out" / "gradebook.csv").mkdir(parents=True)
    for out in ("file/out", "out"):
        assert gradebook.main([str(tmp_path / "in"), "--out", str(tmp_path / out), "--only", "ex01"]) == 2
        assert capsys.readouterr().err.startswith("error: ")


def test_a_full_disk_ends_a_class_in_a_line(desk, monkeypatch, capsys):
    def full(*_):
        raise OSError(errno.ENOSPC, "No space left on device", "kata.json")

    monkeypatch.setattr(desk_of, "write_whole", full)
    assert command.outcome(lambda: desk(stand_in)) == 2
    assert capsys.readouterr().err == "error: kata.json: No space left on device\n"


def test_another_seed_needs_another_folder(submissions, tmp_path, capsys):
    out = tmp_path / "out"
    rules = desk_of.Class(2, suite_hash(), ("ex01_round_trip",), True, walls.best().tier, None)
    gradebook._same_class(out, rules)
    assert gradebook.main([str(submissions), "--out", str(out), "--only", "ex01"]) == 2
    assert "seed 2, and this is 1" in capsys.readouterr().err


@pytest.mark.parametrize("folder, says", [("nowhere", "there is no folder"), ("empty", "holds no submission")])
def test_mistakes_of_the_instructor_are_said(tmp_path, capsys, folder, says):
    (tmp_path / "empty").mkdir()
    assert gradebook.main([str(tmp_path / folder), "--out", str(tmp_path / "out")]) == 2
    assert says in capsys.readouterr().err


def test_time_left_is_that_of_what_is_left():
    pace = desk_of.Pace(2, {"ex08"})
    pace.note("ex01", 4)
    pace.note("ex08", 30)
    assert pace.seconds(["ex01", "ex01", "ex08"]) == 4 + 30
