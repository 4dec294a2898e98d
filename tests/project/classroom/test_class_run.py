"""A class's rounds: who is graded when and beside whom, what is tried again, and what is left when all stops."""

import errno
import os
import shutil
import signal
import threading
import time
from dataclasses import replace
from types import SimpleNamespace

import pytest

from grader.classroom import class_run, gradebook_csv, roster
from grader.classroom.grade_submission import Guarded, nothing
from grader.commands.command_line import outcome
from grader.results import syllabus
from grader.run.suite_process import StartError
from grader.sandbox import policy
from tests.project.handing_in import SOLUTIONS, fill, passed


@pytest.fixture
def run_class(tmp_path):
    """run_class(grade) with three members and the exercises ex01, ex08 and ex09, where grade is all that happens."""

    def make(grade, everybody=None, only=("ex01", "ex08", "ex09")):
        exercises = [syllabus.find(name, syllabus.load()) for name in only]
        everybody = everybody or [roster.Member(name, tmp_path / name, contents=name) for name in ("a", "b", "c")]
        built = policy.Walls("none", False)
        rules = class_run.Rules(1, "", tuple(e.name for e in exercises), True, "none", None)
        made = class_run.ClassRun(everybody, exercises, rules, built, tmp_path / "out", 2, lambda *_: None)
        (tmp_path / "out").mkdir(exist_ok=True)
        contents = {member.name: member.contents for member in everybody}

        def graded_as_taken(submission, *rest, stopped):
            result = grade(submission, *rest)
            result.contents = result.contents or contents[submission.name]
            return result

        grade_before = class_run.grade
        class_run.grade = graded_as_taken
        try:
            made.work()
        finally:
            class_run.grade = grade_before
        return everybody

    return make


@pytest.mark.timeout(60)
def test_what_ctrl_c_ends_has_no_result(tmp_path, monkeypatch):
    """Nor do exercises that come after the one under way, whose files are removed."""

    def interrupt(*_):
        monkeypatch.setattr(class_run._Timer, "testing", lambda *_: None)
        os.kill(os.getpid(), signal.SIGINT)

    monkeypatch.setattr(class_run._Timer, "testing", interrupt)
    member = roster.Member("ann", fill(tmp_path / "in" / "ann"))
    roster.take_in([member], tmp_path / "taken")
    exercises = [syllabus.find(name, syllabus.load()) for name in ("ex01", "ex02", "ex04")]
    built = policy.best()
    rules = class_run.Rules(1, "", tuple(e.name for e in exercises), True, built.tier, None)
    run = class_run.ClassRun([member], exercises, rules, built, tmp_path / "out", 2, lambda *_: None)
    before = threading.active_count()
    with pytest.raises(KeyboardInterrupt):
        run.work()
    until = time.monotonic() + 10
    while threading.active_count() > before and time.monotonic() < until:
        time.sleep(0.1)
    assert threading.active_count() == before and member.result is None and not list(tmp_path.glob("out/**/*.*"))
    assert not run.scratch.exists()


def test_nothing_is_written_once_all_is_to_stop(run_class, tmp_path):
    told = []

    def grade(submission, exercises, *rest):
        told.append(submission.name)
        os.kill(os.getpid(), signal.SIGINT)
        time.sleep(1)
        return stand_in(submission, exercises)

    with pytest.raises(KeyboardInterrupt):
        run_class(grade)
    time.sleep(1)
    assert len(told) <= 2 and not list(tmp_path.glob("out/**/*.*"))


def test_a_file_that_was_taken_and_is_gone_is_no_mistake_of_the_students(tmp_path):
    names = ["ex01_round_trip.py", "ex02_per_channel.py"]
    shutil.copyfile(SOLUTIONS / names[0], tmp_path / names[0])
    taken = SimpleNamespace(place=tmp_path, names=names, left={})
    guard = Guarded(taken, tmp_path / "stages", policy.PRACTICE, True)
    one, two, three = syllabus.load()[:3]
    assert guard.known(one) is None and "there is no ex03" in guard.known(three).functions[0].reason
    with pytest.raises(FileNotFoundError):
        guard.known(two)
    with pytest.raises(FileNotFoundError):
        guard.stage(one, {})


def timed_out(result):
    for function in result.exercises[0].functions[:1]:
        function.outcome, function.kind, function.earned = "timeout", "", 0
    return result


def test_whoever_was_too_slow_beside_others_is_tried_again_alone(run_class):
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

    a, b, c = run_class(grade, only=("ex01", "ex02", "ex08"))
    alone = [(name, exercises, beside) for name, exercises, beside in asked if exercises != ["ex01", "ex02"]]
    assert alone == [
        *[("a", ["ex01"], 1), ("a", ["ex02", "ex08"], 1)],
        *[("b", ["ex01"], 1), ("b", ["ex08"], 1)],
        *[("c", ["ex01"], 1), ("c", ["ex02", "ex08"], 1)],
    ]
    assert a.result.earned == c.result.earned == 30 and b.result.earned < 30
    assert a.result.exercises[1].stood_in == [] and b.result.exercises[1].stood_in == ["ex01_round_trip"]


def test_it_is_tried_again_where_nothing_is_timed_as_well(run_class):
    asked = []

    def grade(submission, exercises, *rest):
        asked.append(submission.name)
        result = passed(stand_in(submission, exercises))
        return timed_out(result) if asked.count("b") == 1 and submission.name == "b" else result

    assert [member.result.earned for member in run_class(grade, only=("ex01",))] == [10, 10, 10]
    assert sorted(asked) == ["a", "b", "b", "c"]


def test_a_first_round_that_went_wrong_is_graded_again_in_full(run_class):
    asked = []

    def grade(submission, exercises, *rest):
        asked.append(submission.name)
        if submission.name == "b" and asked.count("b") == 1:
            raise ZeroDivisionError("oh")
        return stand_in(submission, exercises)

    a, b, c = run_class(grade)
    assert [e.name[:4] for e in b.result.exercises] == ["ex01", "ex08", "ex09"] and not b.result.broken


def test_what_changes_while_it_is_graded_has_no_result_under_another_hash(run_class):
    def grade(submission, exercises, *rest):
        result = passed(stand_in(submission, exercises))
        result.contents = "something else" if submission.name == "b" else ""
        return result

    a, b, c = run_class(grade)
    assert "changed while" in b.result.broken and b.result.earned == 0 and a.result.earned == 30


def test_a_refusal_says_what_the_matter_is_now(run_class, tmp_path):
    def grade(*_):
        raise AssertionError("there is nothing to grade")

    for why in ("no zip", "too large"):
        member = roster.Member("a", tmp_path / "a.zip", refused=f"cannot be taken: {why}", contents="none")
        run_class(grade, [member])
        assert why in (tmp_path / "out" / "students" / "a" / "feedback.txt").read_text()


def stand_in(submission, exercises, *_, **__):
    return nothing(submission, exercises, 1, "graded", "none")


def test_what_is_timed_has_the_machine_to_itself(run_class):
    running, seen, lock = [], [], threading.Lock()

    def grade(submission, exercises, *rest):
        with lock:
            running.append(submission.name)
            seen.append((exercises[0].name, len(running)))
        time.sleep(0.1)
        with lock:
            running.remove(submission.name)
        return stand_in(submission, exercises)

    run_class(grade)
    assert max(n for name, n in seen if name.startswith("ex01")) == 2
    assert [n for name, n in seen if name.startswith("ex08")] == [1, 1, 1]
    assert [name[:4] for name, _ in seen] == ["ex01"] * 3 + ["ex08"] * 3


def test_a_second_round_builds_on_the_first_and_a_third_run_grades_nothing(run_class):
    asked = []

    def stopped(submission, exercises, *rest):
        asked.append((submission.name, [e.short for e in exercises], [e.name[:4] for e in rest[-1]]))
        if len(asked) == 5:
            raise StartError("the machine is gone")
        return stand_in(submission, exercises)

    with pytest.raises(StartError):
        run_class(stopped)
    assert asked[3:] == [(name, ["ex08", "ex09"], ["ex01"]) for name in ("a", "b")]
    asked.clear()
    everybody = run_class(stopped)
    assert asked == [(name, ["ex08", "ex09"], ["ex01"]) for name in ("b", "c")]
    assert all([e.name[:4] for e in member.result.exercises] == ["ex01", "ex08", "ex09"] for member in everybody)
    asked.clear()
    run_class(stopped)
    assert asked == []
    (again,) = run_class(stopped, [replace(member, contents="handed in again") for member in everybody[:1]])
    assert asked == [("a", ["ex01"], []), ("a", ["ex08", "ex09"], ["ex01"])]
    assert [e.name[:4] for e in again.result.exercises] == ["ex01", "ex08", "ex09"]


def test_a_fault_of_the_graders_costs_one_submission(run_class):
    def grade(submission, exercises, *rest):
        if submission.name == "b":
            raise ZeroDivisionError("oh")
        return stand_in(submission, exercises)

    a, b, c = run_class(grade)
    assert "the grader stumbled: ZeroDivisionError: oh" in b.result.broken and b.result.earned == 0
    assert a.result and c.result and gradebook_csv.status_of(b).startswith("not graded: ")
    a, b, c = run_class(stand_in)  # what was no fault of the submission's is tried again
    assert not b.result.broken and gradebook_csv.status_of(b) == "graded"


def test_what_students_say_can_always_be_written_down(run_class):
    def grade(submission, exercises, *rest):
        return nothing(submission, exercises, 1, "half a character: \ud800", "none")

    assert all(member.result for member in run_class(grade))


def test_only_what_builds_on_what_is_timed_waits_for_it():
    first, alone = class_run.rounds(syllabus.load())
    assert [e.short for e in alone] == ["ex08", "ex09"]
    assert [e.short for e in first] == [e.short for e in syllabus.load() if e not in alone]


def test_a_full_disk_ends_a_class_in_a_line(run_class, monkeypatch, capsys):
    def full(*_):
        raise OSError(errno.ENOSPC, "No space left on device", "kata.json")

    monkeypatch.setattr(class_run, "write_whole", full)
    assert outcome(lambda: run_class(stand_in)) == 2
    assert capsys.readouterr().err == "error: kata.json: No space left on device\n"
