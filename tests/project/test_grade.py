"""`nox -s grade` as an instructor uses it."""

import json
import os
import shutil
import signal
import subprocess
import sys
import time
import xml.etree.ElementTree as ET
import zipfile

import pytest

from grader import grade
from tests.project import graded
from tests.project.test_hostile import SAMPLES, mentioned

SOLUTIONS = graded.ROOT / "solutions"


@pytest.fixture
def submission(tmp_path):
    """The solutions, with a wrong ex01."""
    folder = tmp_path / "jo"
    folder.mkdir()
    for file in SOLUTIONS.glob("ex*.py"):
        shutil.copyfile(file, folder / file.name)
    shutil.copyfile(SAMPLES / "wrong.py", folder / "ex01_round_trip.py")
    return folder


def results(out):
    return json.loads((out / "kata.json").read_text())


@pytest.mark.timeout(300)
def test_a_submission_gets_its_files(submission, tmp_path, capsys):
    out = tmp_path / "out"
    assert grade.main([str(submission), "--out", str(out), "--only", "ex01", "--only", "ex02", "--plain"]) == 0
    shown = capsys.readouterr().out
    assert "sandbox: " in shown and "14 of 20 points" in shown
    record = results(out)
    one, two = record["exercises"]
    assert (one["earned"], two["earned"], two["stood_in"]) == (4, 10, ["ex01_round_trip"])
    assert record["sandbox"] and record["seed"] == grade.CLASS_SEED
    text = (out / "kata.json").read_text()
    assert "an answer that rounds down" in text and "exercises/ex01_round_trip.py" in json.dumps(record)
    assert str(tmp_path) not in text.replace(record["submission"], "") and "/tmp/" not in text
    assert json.loads((out / "results.json").read_text())["score"] == 14
    assert len(ET.parse(out / "junit.xml").getroot()) == 2


@pytest.mark.timeout(300)
def test_without_stand_ins_exercises_wait(submission, tmp_path):
    out = tmp_path / "out"
    command = [str(submission), "--out", str(out), "--only", "ex01", "--only", "ex02", "--plain", "--no-stand-in"]
    assert grade.main(command) == 0
    one, two = results(out)["exercises"]
    assert (one["earned"], two["earned"], two["waits_for"]) == (4, 0, ["ex01_round_trip"])
    assert all("waits for ex01" in function["message"] for function in two["functions"])


def test_what_nobody_has_begun_is_known_at_once(tmp_path):
    """And is what running it would say: that is what test_exercises.py has about stubs."""
    shutil.copytree(graded.ROOT / "exercises", tmp_path / "jo")
    (tmp_path / "jo" / "ex05_linear_swap.py").unlink()
    text = (tmp_path / "jo" / "ex04_int8_product.py").read_text()
    (tmp_path / "jo" / "ex04_int8_product.py").write_text(text.replace("\n", "\r\n"), newline="")
    began = time.monotonic()
    assert grade.main([str(tmp_path / "jo"), "--out", str(tmp_path / "out"), "--plain"]) == 0
    assert time.monotonic() - began < 10
    record = results(tmp_path / "out")
    assert {exercise["state"] for exercise in record["exercises"]} == {"not started"} and record["earned"] == 0
    assert all(len(e["functions"]) == len(grade.expected(e["name"])) for e in record["exercises"])
    said = {e["name"][:4]: e["functions"][0]["message"] for e in record["exercises"]}
    assert said["ex01"] == "ex01_round_trip.py is as it was handed out" and "there is no" in said["ex05"]


@pytest.mark.timeout(300)
def test_a_zip_is_graded_like_its_folder(tmp_path):
    file = tmp_path / "jo.zip"
    with zipfile.ZipFile(file, "w") as archive:
        for source in SOLUTIONS.glob("ex*.py"):
            archive.write(source, f"jo/exercises/{source.name}")
    assert grade.main([str(file), "--out", str(tmp_path / "out"), "--only", "ex01", "--plain"]) == 0
    assert results(tmp_path / "out")["earned"] == 10


@pytest.mark.timeout(120)
def test_a_run_that_is_killed_leaves_no_points_and_no_process(submission, tmp_path):
    shutil.copyfile(SAMPLES / "endless_loop.py", submission / "ex02_per_channel.py")
    out, environment = tmp_path / "out", os.environ | {"TMPDIR": str(tmp_path / "scratch")}
    (tmp_path / "scratch").mkdir()
    command = [sys.executable, "-m", "grader.grade", str(submission), "--out", str(out), "--plain"]
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
            return "grader.sandbox.worker" in file.read()
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
