"""What is said about a worker that computes when it should not, on more threads than it may, or for too long."""

import os
import signal
import threading
import time

import pytest

from grader.sandbox import worker_client
from grader.sandbox.worker_client import SLACK, STIRRED, WorkerClient, Workers
from grader.suite.verdict import ProcessLost


class FakeProcess:
    """Stands for a WorkerProcess: takes so much processor time while others are timed, or while it is timed itself."""

    def __init__(self, *seconds: float):
        self._seconds = iter(seconds)
        self.runs = True

    def pause(self) -> float:
        self.runs = False
        return next(self._seconds)

    def cpu_seconds(self) -> float:
        return next(self._seconds)

    def resume(self) -> None:
        self.runs = True

    def end(self, *_, **__):
        return {}


@pytest.fixture
def workers(tmp_path):
    """workers(first, second): two clients, the student's first, with such processes."""
    made = []

    def make(*processes: FakeProcess) -> Workers:
        one = Workers(tmp_path, None, tmp_path, 1)
        one.student._process = processes[0]
        one._host = WorkerClient(one, None)
        one._host._process = processes[-1]
        made.append(one)
        return one

    yield make
    for one in made:
        one.close()


def test_whoever_stands_still_is_believed(workers):
    student, host = FakeProcess(10.0, 10.0 + STIRRED / 2), FakeProcess()
    both = workers(student, host)
    both.only(both.host)
    assert not student.runs and host.runs
    both.go_on()
    assert student.runs


def test_whoever_does_not_stand_still_fails_and_all_go_on(workers):
    student, host = FakeProcess(10.0, 11.5), FakeProcess()
    both = workers(student, host)
    both.only(both.host)
    with pytest.raises(AssertionError, match="while others were timed, it took 1.5 s"):
        both.go_on()
    assert student.runs and host.runs


def test_more_threads_than_are_allowed_show_however_short_it_was(workers):
    both = workers(FakeProcess(1.0, 1.0 + 0.05), FakeProcess())
    both.threads, both.student.seconds = 1, 0.05
    assert both.student.timed(lambda: "result") == (0.05, "result")
    both = workers(FakeProcess(1.0, 1.0 + 0.05 + 2 * SLACK), FakeProcess())
    both.threads, both.student.seconds = 1, 0.05
    with pytest.raises(AssertionError, match="what 1 threads can take"):
        both.student.timed(lambda: "result")


def test_a_little_in_every_pause_is_too_much_in_the_end(workers):
    readings = [10.0, 10.02, 20.0, 20.02]
    both = workers(FakeProcess(*readings), FakeProcess())
    both.only(both.host)
    both.go_on()
    both.only(both.host)
    with pytest.raises(AssertionError, match="while others were timed, it took 0.04 s"):
        both.go_on()


def test_processor_time_is_not_given_back(workers):
    both = workers(FakeProcess(10.0, 6.0))
    with pytest.raises(AssertionError, match="4.0 s of processor time less than before the call"):
        both.student.timed(lambda: None)


# ---- deadlines: processor time, and four times as long by the clock --------------------------------------------------


@pytest.mark.timeout(90)
def test_an_endless_loop_is_cut_off_by_its_processor_time(behind_walls, monkeypatch):
    monkeypatch.setattr(worker_client, "BUSY", 40)  # the clock has no say, however busy this machine is
    student = behind_walls("def f(n):\n    while True:\n        try: pass\n        except BaseException: pass\n")
    student.begin_test(1, 1)
    with pytest.raises(ProcessLost, match="`f` did not finish within 1 s of processor time") as lost:
        student.f(1)
    why = lost.value.why
    assert (why.outcome, why.think) == ("timeout", "Is there a loop that never ends?") and 2 <= why.place[1] <= 4


@pytest.mark.timeout(90)
def test_what_waits_is_cut_off_by_the_clock_at_four_times_its_seconds(behind_walls):
    student = behind_walls("import time\ndef f(n):\n    time.sleep(60)\n")
    student.begin_test(1, 0.5)
    with pytest.raises(ProcessLost, match="`f` did not finish within 2 s, most of which it waited"):
        student.f(1)


@pytest.mark.timeout(90)
def test_a_busy_machine_costs_no_test(behind_walls):
    """A worker that got no processor for longer than its deadline, but not for four times as long, has its time yet."""
    student = behind_walls("import time\ndef f(n):\n    time.sleep(n)\n    return n\n")
    student.begin_test(1, 3)
    worker = student._workers.student._process.worker
    os.kill(worker, signal.SIGSTOP)
    timer = threading.Timer(4, os.kill, (worker, signal.SIGCONT))
    timer.start()
    began = time.monotonic()
    assert student.f(0.1) == 0.1 and time.monotonic() - began > 3
    timer.join()


@pytest.mark.timeout(90)
def test_processor_time_is_that_of_each_test(behind_walls, monkeypatch):
    monkeypatch.setattr(worker_client, "BUSY", 40)
    student = behind_walls(
        "import time\ndef f(n):\n    end = time.process_time() + n\n    while time.process_time() < end: pass\n"
    )
    for _ in range(3):
        student.begin_test(1, 2)
        student.f(0.9)
    with pytest.raises(ProcessLost, match="`f` did not finish within 2 s of processor time"):
        for _ in range(3):
            student.f(0.9)


@pytest.mark.timeout(90)
def test_the_next_test_has_another_worker_and_the_one_after_that_none(behind_walls):
    student = behind_walls("import os\ndef f(n):\n    return n if n else os._exit(3)\n")
    for life in (1, 2):
        student.begin_test(1, 5)
        assert student.f(1) == 1
        with pytest.raises(ProcessLost, match="closed with exit code 3"):
            student.f(0)
        assert student._workers.student.life == life
    student.begin_test(1, 5)
    with pytest.raises(ProcessLost, match="not run: an earlier test did not finish") as lost:
        student.f(1)
    assert lost.value.kind == "not run"
