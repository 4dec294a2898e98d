"""Grading one submission: what is known without running it, and what the reference stands in for."""

import math
import shutil
import time
import zipfile
from types import SimpleNamespace

import pytest

from grader.classroom import grade_submission
from grader.classroom.intake import LARGEST
from grader.results import syllabus
from grader.results.failure import Failure, Frame
from grader.results.model import CaseResult, ExerciseResult, RunResult, combine
from grader.run import runner
from grader.run.suite_process import StartError
from grader.sandbox import policy, worker_process
from tests.project import graded
from tests.project.handing_in import SOLUTIONS, fill
from tests.project.sandbox.test_hostile import SAMPLES, Silent


@pytest.fixture
def submission(tmp_path):
    """The solutions, with a wrong ex01."""
    return fill(tmp_path / "jo", ex01=SAMPLES / "wrong.py")


def graded_here(submission, *only: str) -> RunResult:
    exercises = [e for e in syllabus.load() if not only or e.short in only]
    return grade_submission.grade(submission, exercises, 1, Silent(), policy.best())


HELPERS = """
def _check(w, bits):
    return quantize(w, symmetric_scale(w, bits), checked_qmax(w, bits).bit_length() + 1)
def public_helper(w):
    return quantize(w, 1.0)
def checked_qmax(w, bits, more=()):
    return 2 ** (bits - 1) - 1
"""


@pytest.mark.whole
@pytest.mark.timeout(300)
@pytest.mark.parametrize(
    "imported, first",
    [
        ("from .ex01_round_trip import *\nfrom .ex01_round_trip import _check, checked_qmax\npublic_helper\n", HELPERS),
        ("from .ex01_round_trip import *\n", "raise RuntimeError\n"),
    ],
    ids=["helpers", "does-not-import"],
)
def test_one_early_mistake_is_not_charged_to_what_uses_helpers_of_ones_own(submission, imported, first):
    one, two = submission / "ex01_round_trip.py", submission / "ex02_per_channel.py"
    one.write_text(one.read_text() + first)
    before = "from .ex01_round_trip import dequantize"
    text = two.read_text().replace(before, imported + before)
    if "_check" in imported:  # what it calls is not the wrong answer to ex01
        text = text.replace("def channel_scales", "import torch\n\n\ndef channel_scales", 1)
        text += "\nassert _check(torch.tensor([2.6, 7]), 4).tolist() == [3, 7]  # rounded down it would be 2\n"
    two.write_text(text)
    one, two = graded_here(submission, "ex01", "ex02").exercises
    assert one.earned < 10 and two.stood_in == ["ex01_round_trip"]
    assert two.earned == 10, two.functions[0].failure


@pytest.mark.whole
@pytest.mark.timeout(300)
def test_helpers_that_stand_beside_a_stand_in_are_known_by_the_students_file(submission):
    one, two = submission / "ex01_round_trip.py", submission / "ex02_per_channel.py"
    one.write_text(one.read_text() + "def _check():\n    raise KeyError('mine')\n")
    two.write_text(two.read_text() + "\nfrom .ex01_round_trip import _check\n_check()\n")
    result = graded_here(submission, "ex01", "ex02")
    failure, line = result.exercises[1].functions[0].failure, len(one.read_text().splitlines())
    assert failure.raised == "KeyError: 'mine'"
    assert [(f.file, f.line, f.text) for f in failure.frames] == [
        ("exercises/ex01_round_trip.py", line, "raise KeyError('mine')")
    ]
    assert "_submitted" not in result.to_json()


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
    said = {e.name[:4]: (e.state, e.functions[0].reason) for e in graded_here(tmp_path / "jo").exercises}
    assert said["ex05"] == ("error", "cannot be taken: ex05_linear_swap.py has more than 1,048,576 bytes")
    assert said["ex01"] == ("not started", "ex01_round_trip.py is as it was handed out")


def test_what_nobody_has_begun_is_known_at_once(tmp_path):
    """And is what running it would say: that is what test_exercises.py has about stubs."""
    shutil.copytree(graded.ROOT / "exercises", tmp_path / "jo")
    (tmp_path / "jo" / "ex05_linear_swap.py").unlink()
    text = (tmp_path / "jo" / "ex04_int8_product.py").read_text()
    (tmp_path / "jo" / "ex04_int8_product.py").write_text(text.replace("\n", "\r\n"), newline="")
    began = time.monotonic()
    result = graded_here(tmp_path / "jo")
    assert time.monotonic() - began < 10
    assert {exercise.state for exercise in result.exercises} == {"not started"} and result.earned == 0
    assert all(len(e.functions) == len(grade_submission.expected(e.name)) for e in result.exercises)
    said = {e.name[:4]: e.functions[0].reason for e in result.exercises}
    assert said["ex01"] == "ex01_round_trip.py is as it was handed out" and "there is no" in said["ex05"]


@pytest.mark.timeout(300)
def test_a_zip_is_graded_like_its_folder(tmp_path):
    file = tmp_path / "jo.zip"
    with zipfile.ZipFile(file, "w") as archive:
        for source in SOLUTIONS.glob("ex*.py"):
            archive.write(source, f"jo/exercises/{source.name}")
    assert graded_here(file, "ex01").earned == 10


def test_a_sandboxed_run_waits_for_all_that_a_worker_may_take():
    """Its start included, and a longer deadline: processor time is the worker's own affair."""
    test = {"id": "t", "name": "t", "title": "T.", "case": "", "points": 1, "seconds": None}
    suite = runner._Suite(syllabus.load()[0], {"suite": ""}, Silent(), None, SimpleNamespace(deadline=90))
    suite._note({"event": "collected", "tests": [test]}, None)
    suite._note({"event": "started", "id": "t"}, None)
    allowed = suite.deadline.until - suite.deadline.since
    assert allowed > runner.BUSY * 90 + worker_process.START_SECONDS + worker_process.END_SECONDS
    assert suite.deadline.spent == math.inf


def test_the_deadline_of_a_class_is_that_of_its_runs(submission, monkeypatch):
    seen = []

    def work(suite, *_):
        seen.append(suite.test_seconds)
        raise StartError

    monkeypatch.setattr(runner._Suite, "_work", work)
    with pytest.raises(StartError):
        grade_submission.grade(submission, syllabus.load()[:1], 1, None, policy.PRACTICE, deadline=77)
    assert seen == [77]


def test_a_staged_file_is_told_as_the_student_knows_it(tmp_path):
    """Also in a folder whose name is not ASCII, which JSON writes in another way."""
    stages = tmp_path / "Übung é" / "stages"
    folder = stages / "ex01" / "exercises"
    folder.mkdir(parents=True)
    file = folder / f"ex01_round_trip{grade_submission.OWN}.py"
    file.touch()
    frames = [Frame(file=str(file), line=3, text="x")]
    failure = Failure(raised=f"OSError: {folder}", frames=frames, notes=[f"read {file}"])
    case = CaseResult(outcome="failed", failure=failure, file=str(file), output=f"in {folder}/x")
    exercise = ExerciseResult(
        name="ex01_round_trip", title="", track="core", points=1, functions=[combine("test_a_law", 1, [case])]
    )
    result = RunResult(submission="s", seed=1, suite="", exercises=[exercise])
    (known,) = grade_submission._without_paths(result, stages).functions
    assert known.file == known.failure.frames[0].file == "exercises/ex01_round_trip.py"
    assert known.failure.raised == "OSError: exercises" and known.output == "in exercises/x"
    assert known.failure.notes == ["read exercises/ex01_round_trip.py"]
