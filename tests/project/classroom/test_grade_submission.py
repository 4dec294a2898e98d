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
from types import SimpleNamespace

import pytest

from grader.classroom import grade_submission
from grader.classroom.intake import LARGEST
from grader.results import syllabus
from grader.run import runner
from grader.run.suite_process import StartError
from grader.sandbox import policy, worker_process
from tests.project import graded
from tests.project.sandbox.test_hostile import SAMPLES, mentioned

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
    assert grade_submission.main([str(submission), "--out", str(out), "--only", "ex01", "--only", "ex02", "--plain"]) == 0
    shown = capsys.readouterr().out
    assert "sandbox: " in shown and "14 of 20 points" in shown
    record = results(out)
    one, two = record["exercises"]
    assert (one["earned"], two["earned"], two["stood_in"]) == (4, 10, ["ex01_round_trip"])
    assert record["sandbox"] and record["seed"] == grade_submission.CLASS_SEED
    text = (out / "kata.json").read_text()
    assert "an answer that rounds down" in text and "exercises/ex01_round_trip.py" in json.dumps(record)
    assert str(tmp_path) not in text.replace(record["submission"], "") and "/tmp/" not in text
    assert json.loads((out / "results.json").read_text())["score"] == 14
    assert len(ET.parse(out / "junit.xml").getroot()) == 2


@pytest.mark.timeout(300)
def test_without_stand_ins_exercises_wait(submission, tmp_path):
    out = tmp_path / "out"
    command = [str(submission), "--out", str(out), "--only", "ex01", "--only", "ex02", "--plain", "--no-stand-in"]
    assert grade_submission.main(command) == 0
    one, two = results(out)["exercises"]
    assert (one["earned"], two["earned"], two["waits_for"]) == (4, 0, ["ex01_round_trip"])
    assert all("waits for ex01" in function["message"] for function in two["functions"])


HELPERS = """
def _check(w, bits):
    return quantize(w, symmetric_scale(w, bits), checked_qmax(w, bits).bit_length() + 1)
def public_helper(w):
    return quantize(w, 1.0)
def checked_qmax(w, bits, more=()):
    return 2 ** (bits - 1) - 1
"""


@pytest.mark.timeout(300)
@pytest.mark.parametrize(
    "imported, first",
    [
        ("from .ex01_round_trip import *\nfrom .ex01_round_trip import _check, checked_qmax\npublic_helper\n", HELPERS),
        ("from .ex01_round_trip import *\n", "raise RuntimeError\n"),
    ],
    ids=["helpers", "does-not-import"],
)
def test_one_early_mistake_is_not_charged_to_what_uses_helpers_of_ones_own(submission, tmp_path, imported, first):
    one, two = submission / "ex01_round_trip.py", submission / "ex02_per_channel.py"
    one.write_text(one.read_text() + first)
    before = "from .ex01_round_trip import dequantize"
    text = two.read_text().replace(before, imported + before)
    if "_check" in imported:  # what it calls is not the wrong answer to ex01
        text = text.replace("def channel_scales", "import torch\n\n\ndef channel_scales", 1)
        text += "\nassert _check(torch.tensor([2.6, 7]), 4).tolist() == [3, 7]  # rounded down it would be 2\n"
    two.write_text(text)
    out = tmp_path / "out"
    assert grade_submission.main([str(submission), "--out", str(out), "--only", "ex01", "--only", "ex02", "--plain"]) == 0
    one, two = results(out)["exercises"]
    assert one["earned"] < 10 and two["stood_in"] == ["ex01_round_trip"]
    assert two["earned"] == 10, two["functions"][0]["message"]


@pytest.mark.timeout(300)
def test_helpers_that_stand_beside_a_stand_in_are_known_by_the_students_file(submission, tmp_path):
    one, two = submission / "ex01_round_trip.py", submission / "ex02_per_channel.py"
    one.write_text(one.read_text() + "def _check():\n    raise KeyError('mine')\n")
    two.write_text(two.read_text() + "\nfrom .ex01_round_trip import _check\n_check()\n")
    out = tmp_path / "out"
    assert grade_submission.main([str(submission), "--out", str(out), "--only", "ex01", "--only", "ex02", "--plain"]) == 0
    message = results(out)["exercises"][1]["functions"][0]["message"]
    line = len(one.read_text().splitlines())
    assert f"exercises/ex01_round_trip.py:{line}: raise KeyError('mine')" in message
    assert "_submitted" not in (out / "kata.json").read_text()


FORGES = """
import grader.sandbox.worker_main as worker
class CheckpointError(RuntimeError): pass
def lie(self, *_):
    raise CheckpointError("this installation has none")
worker.Worker.on_view = lie
def perplexity(model, tokens, context):
    return 1.0
"""


@pytest.mark.timeout(120)
def test_no_submission_can_say_that_the_installation_is_at_fault(tmp_path):
    (tmp_path / "ex06_perplexity.py").write_text(FORGES)
    test = "test_windows_are_as_long_as_the_context_and_no_longer"
    job = graded.Job(str(tmp_path), ("ex06_perplexity",), test=test, behind_walls=True)
    (case,) = graded.run_all([job])[0][test]
    assert (case["outcome"], case["kind"]) == ("failed", "crashed")
    assert "raised    CheckpointError: this installation has none" in case["message"]


@pytest.mark.timeout(120)
def test_a_file_that_is_too_large_costs_its_exercise_and_no_other(tmp_path):
    shutil.copytree(graded.ROOT / "exercises", tmp_path / "jo")
    (tmp_path / "jo" / "ex05_linear_swap.py").write_text("#" * (LARGEST + 1))
    assert grade_submission.main([str(tmp_path / "jo"), "--out", str(tmp_path / "out"), "--plain"]) == 0
    said = {e["name"][:4]: (e["state"], e["functions"][0]["message"]) for e in results(tmp_path / "out")["exercises"]}
    assert said["ex05"] == ("error", "cannot be taken: ex05_linear_swap.py has more than 1,048,576 bytes")
    assert said["ex01"] == ("not started", "ex01_round_trip.py is as it was handed out")


def test_what_nobody_has_begun_is_known_at_once(tmp_path):
    """And is what running it would say: that is what test_exercises.py has about stubs."""
    shutil.copytree(graded.ROOT / "exercises", tmp_path / "jo")
    (tmp_path / "jo" / "ex05_linear_swap.py").unlink()
    text = (tmp_path / "jo" / "ex04_int8_product.py").read_text()
    (tmp_path / "jo" / "ex04_int8_product.py").write_text(text.replace("\n", "\r\n"), newline="")
    began = time.monotonic()
    assert grade_submission.main([str(tmp_path / "jo"), "--out", str(tmp_path / "out"), "--plain"]) == 0
    assert time.monotonic() - began < 10
    record = results(tmp_path / "out")
    assert {exercise["state"] for exercise in record["exercises"]} == {"not started"} and record["earned"] == 0
    assert all(len(e["functions"]) == len(grade_submission.expected(e["name"])) for e in record["exercises"])
    said = {e["name"][:4]: e["functions"][0]["message"] for e in record["exercises"]}
    assert said["ex01"] == "ex01_round_trip.py is as it was handed out" and "there is no" in said["ex05"]


@pytest.mark.timeout(300)
def test_a_zip_is_graded_like_its_folder(tmp_path):
    file = tmp_path / "jo.zip"
    with zipfile.ZipFile(file, "w") as archive:
        for source in SOLUTIONS.glob("ex*.py"):
            archive.write(source, f"jo/exercises/{source.name}")
    assert grade_submission.main([str(file), "--out", str(tmp_path / "out"), "--only", "ex01", "--plain"]) == 0
    assert results(tmp_path / "out")["earned"] == 10


@pytest.mark.timeout(120)
def test_a_run_that_is_killed_leaves_no_points_and_no_process(submission, tmp_path):
    shutil.copyfile(SAMPLES / "endless_loop.py", submission / "ex02_per_channel.py")
    out, environment = tmp_path / "out", os.environ | {"TMPDIR": str(tmp_path / "scratch")}
    (tmp_path / "scratch").mkdir()
    command = [sys.executable, "-m", "grader.classroom.grade_submission", str(submission), "--out", str(out), "--plain"]
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


def test_a_run_behind_walls_waits_for_all_that_a_worker_may_take():
    """Its start included, and a longer deadline: the worker's own ends what does not."""
    test = {"id": "t", "name": "t", "case": "", "points": 1, "seconds": None}
    silent = SimpleNamespace(testing=lambda *_: None)
    suite = runner._Suite(syllabus.load()[0], {"suite": "", "options": ["--walls={}"]}, silent, 90)
    suite._note({"event": "collected", "tests": [test]})
    suite._note({"event": "started", "id": "t"})
    assert suite.until - suite.since > 90 + worker_process.START_SECONDS + worker_process.END_SECONDS


def test_the_deadline_of_a_class_is_that_of_its_runs(submission, monkeypatch):
    seen = []

    def work(suite, *_):
        seen.append(suite.seconds)
        raise StartError

    monkeypatch.setattr(runner._Suite, "_work", work)
    with pytest.raises(StartError):
        grade_submission.grade(submission, syllabus.load()[:1], 1, None, policy.PRACTICE, deadline=77)
    assert seen == [77]


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
    assert grade_submission.main([places.get(word, word) for word in arguments]) == 2
    assert says in capsys.readouterr().err


@pytest.mark.timeout(120)
def test_a_folder_without_exercises_earns_nothing_and_says_why(tmp_path, capsys):
    (tmp_path / "empty").mkdir()
    assert grade_submission.main([str(tmp_path / "empty"), "--out", str(tmp_path / "out"), "--plain"]) == 0
    record = json.loads((tmp_path / "out" / "results.json").read_text())
    assert record["score"] == 0 and all("none of the exercises' files" in test["output"] for test in record["tests"])
