"""`nox -s grade` as an instructor uses it."""

import json
import os
import shutil
import signal
import subprocess
import sys
import time
import xml.etree.ElementTree as ET

import pytest

from grader.commands import grade
from grader.commands.command_line import CLASS_SEED
from grader.run import runner
from tests.project import graded
from tests.project.handing_in import SOLUTIONS, fill
from tests.project.sandbox.test_hostile import SAMPLES, mentioned


@pytest.fixture
def submission(tmp_path):
    """The solutions, with a wrong ex01."""
    return fill(tmp_path / "jo", ex01=SAMPLES / "wrong.py")


def results(out):
    return json.loads((out / "kata.json").read_text())


@pytest.mark.timeout(300)
def test_a_submission_gets_its_files(submission, tmp_path, capsys, monkeypatch):
    monkeypatch.setattr(runner, "DIAGNOSIS_SECONDS", 60)  # however busy this machine is
    out = tmp_path / "out"
    command = [str(submission), "--out", str(out), "--only", "ex01", "--only", "ex02", "--plain"]
    assert grade.main(command) == 0
    shown = capsys.readouterr().out
    assert "sandbox: " in shown and "14 of 20 points" in shown
    record = results(out)
    one, two = record["exercises"]
    assert (one["earned"], two["earned"], two["stood_in"]) == (4, 10, ["ex01_round_trip"])
    assert record["sandbox"] and record["seed"] == CLASS_SEED
    text = (out / "kata.json").read_text()
    assert {m["name"] for f in one["functions"] if f["failure"] for m in f["failure"]["matches"]} == {"floors"}
    assert "exercises/ex01_round_trip.py" in {function["file"] for function in one["functions"]}
    assert str(tmp_path) not in text.replace(record["submission"], "") and "/tmp/" not in text
    graded_there = json.loads((out / "results.json").read_text())
    assert graded_there["score"] == 14
    assert any("an answer that rounds down" in test["output"] for test in graded_there["tests"])
    assert len(ET.parse(out / "junit.xml").getroot()) == 2


@pytest.mark.whole
@pytest.mark.timeout(300)
def test_without_stand_ins_exercises_wait(submission, tmp_path):
    out = tmp_path / "out"
    command = [str(submission), "--out", str(out), "--only", "ex01", "--only", "ex02", "--plain", "--no-stand-in"]
    assert grade.main(command) == 0
    one, two = results(out)["exercises"]
    assert (one["earned"], two["earned"], two["waits_for"]) == (4, 0, ["ex01_round_trip"])
    assert all("waits for ex01" in function["failure"]["summary"] for function in two["functions"])


@pytest.mark.timeout(120)
def test_a_run_that_is_killed_leaves_no_points_and_no_process(submission, tmp_path):
    shutil.copyfile(SAMPLES / "endless_loop.py", submission / "ex02_per_channel.py")
    out, environment = tmp_path / "out", os.environ | {"TMPDIR": str(tmp_path / "scratch")}
    (tmp_path / "scratch").mkdir()
    command = [sys.executable, "-m", "grader.commands.grade", str(submission), "--out", str(out), "--plain"]
    process = subprocess.Popen(
        [*command, "--only", "ex02"], cwd=graded.ROOT, env=environment, stdout=subprocess.DEVNULL
    )
    deadline = time.monotonic() + 60
    while not [pid for pid in mentioned(str(tmp_path)) if pid != process.pid and _is_worker(pid)]:
        assert time.monotonic() < deadline
        time.sleep(0.1)
    process.send_signal(signal.SIGKILL)
    process.wait()
    record = json.loads((out / "results.json").read_text())
    assert record["score"] == 0 and record["tests"]
    while mentioned(str(tmp_path)):
        assert time.monotonic() < deadline
        time.sleep(0.1)


def _is_worker(pid: int) -> bool:
    try:
        with open(f"/proc/{pid}/cmdline") as file:
            return "grader.sandbox.worker_main" in file.read()
    except OSError:
        return False


@pytest.mark.parametrize(
    "arguments, says",
    [
        (["nowhere", "--out", "OUT"], "does not exist"),
        ([str(SOLUTIONS), "--out", "FILE"], "is a file"),
        ([str(SOLUTIONS), "--out", "OUT", "--only", "ex77"], "no exercise is called"),
        ([str(SOLUTIONS), "--out", "OUT", "--format", "classroom50"], "CLASSROOM"),
    ],
)
def test_mistakes_of_the_instructor_are_said(tmp_path, capsys, monkeypatch, arguments, says):
    monkeypatch.delenv("CLASSROOM", raising=False)
    (tmp_path / "file").write_text("")
    places = {"OUT": str(tmp_path / "out"), "FILE": str(tmp_path / "file")}
    assert grade.main([places.get(word, word) for word in arguments]) == 2
    assert says in capsys.readouterr().err


@pytest.mark.timeout(120)
def test_a_folder_without_exercises_earns_nothing_and_says_why(tmp_path, capsys):
    (tmp_path / "empty").mkdir()
    assert grade.main([str(tmp_path / "empty"), "--out", str(tmp_path / "out"), "--plain"]) == 0
    record = json.loads((tmp_path / "out" / "results.json").read_text())
    assert record["score"] == 0 and all("none of the exercises' files" in test["output"] for test in record["tests"])
