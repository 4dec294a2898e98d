"""`nox -s gradebook`: a class is graded whole, whatever is in it and however often it is stopped."""

import json
import os
import signal
import subprocess
import sys
import time
import zipfile

import pytest

from grader.classroom import class_run
from grader.commands import gradebook
from grader.run.runner import suite_hash
from grader.sandbox import policy
from tests.project import graded
from tests.project.handing_in import fill, rows
from tests.project.sandbox.test_hostile import SAMPLES, mentioned

ONLY = ("--only", "ex01", "--only", "ex02")


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


@pytest.mark.whole
@pytest.mark.timeout(400)
def test_a_class_that_is_stopped_and_killed_goes_on_where_it_was(submissions, tmp_path):
    out, roster, scratch = tmp_path / "out", tmp_path / "roster.csv", tmp_path / "scratch"
    scratch.mkdir()
    roster.write_text("folder,name\nann,=Ann\nbob,Bob\ncem,Cem\ndot,Dot\neve,Eve\n")
    command = [sys.executable, "-m", "grader.commands.gradebook", str(submissions), "--out", str(out), *ONLY, "--plain"]
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
    assert tests["Every weight gets the nearest code."]["students"] == "4"
    assert tests["Every weight gets the nearest code."]["share passed"] == "0.25"
    assert "floors (1)" in tests["Every weight gets the nearest code."]["commonest mistakes"]
    assert "an answer that rounds down" in (out / "students" / "cem" / "feedback.txt").read_text()
    assert not mentioned(str(tmp_path)) and not list(scratch.iterdir())
    assert not (out / "students" / "ann" / "first.json").exists()


@pytest.mark.parametrize("seconds", ["nan", "-3", "0", "inf", "301", "soon"])
def test_a_deadline_that_is_none_is_said(tmp_path, capsys, seconds):
    with pytest.raises(SystemExit) as stop:
        gradebook.main([str(tmp_path), "--out", str(tmp_path / "out"), f"--deadline={seconds}"])
    assert stop.value.code == 2 and "seconds from 1 to 300" in capsys.readouterr().err


def test_one_run_at_a_time_writes_into_a_folder(tmp_path, capsys):
    fill(tmp_path / "in" / "a")
    with class_run.sole_run(tmp_path / "out"):
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


def test_what_an_earlier_version_graded_is_not_gone_on_with(tmp_path, capsys):
    fill(tmp_path / "in" / "a")
    command = [str(tmp_path / "in"), "--out", str(tmp_path / "out"), "--only", "ex01"]
    rules = class_run.Rules(1, suite_hash(), ("ex01_round_trip",), True, policy.best().tier, None)
    class_run.same_class(tmp_path / "out", rules)
    file = tmp_path / "out" / "class.json"
    for earlier in ({"format": 1}, {}):
        kept = {name: value for name, value in json.loads(file.read_text()).items() if name != "format"}
        file.write_text(json.dumps(kept | earlier))
        assert gradebook.main(command) == 2
        assert "was graded by an earlier version" in capsys.readouterr().err


def test_what_cannot_be_written_is_said_in_a_line(tmp_path, capsys):
    fill(tmp_path / "in" / "a")
    (tmp_path / "file").write_text("")
    (tmp_path / "out" / "gradebook.csv").mkdir(parents=True)
    for out in ("file/out", "out"):
        assert gradebook.main([str(tmp_path / "in"), "--out", str(tmp_path / out), "--only", "ex01"]) == 2
        assert capsys.readouterr().err.startswith("error: ")


def test_another_seed_needs_another_folder(submissions, tmp_path, capsys):
    out = tmp_path / "out"
    rules = class_run.Rules(2, suite_hash(), ("ex01_round_trip",), True, policy.best().tier, None)
    class_run.same_class(out, rules)
    assert gradebook.main([str(submissions), "--out", str(out), "--only", "ex01"]) == 2
    assert "seed 2, and this is 1" in capsys.readouterr().err


@pytest.mark.parametrize("folder, says", [("nowhere", "there is no folder"), ("empty", "holds no submission")])
def test_mistakes_of_the_instructor_are_said(tmp_path, capsys, folder, says):
    (tmp_path / "empty").mkdir()
    assert gradebook.main([str(tmp_path / folder), "--out", str(tmp_path / "out")]) == 2
    assert says in capsys.readouterr().err


def test_time_left_is_that_of_what_is_left():
    pace = class_run.Pace(2, {"ex08"})
    for _ in range(10_000):
        pace.note("ex01", 4)
        pace.note("ex08", 30)
    assert pace.seconds(["ex01", "ex01", "ex08"]) == pytest.approx(4 + 30, rel=0.01)
    stubs = class_run.Pace(2, {"ex08"})
    for _ in range(5):
        stubs.note("ex08", 0.1)  # the first five have not begun it: what does that say about the others?
    assert 5 * class_run.FIRST_GUESS < stubs.seconds(["ex08"] * 15) < 15 * class_run.FIRST_GUESS * class_run.LONGER
