"""What a station says about a worker that computes when it should not, or on more threads than it may."""

import pytest

from grader.sandbox.worker_client import SLACK, STIRRED, WorkerClient, Workers


class Worker:
    """Stands for a cell: takes so much processor time while others are timed, or while it is timed itself."""

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
def home(tmp_path):
    """home(first, second): two stations, the student's first, with such workers."""
    made = []

    def make(*workers: Worker) -> Home:
        one = Workers(tmp_path, None, tmp_path, 1)
        one.student._cell = workers[0]
        one._host = WorkerClient(one, None)
        one._host._cell = workers[-1]
        made.append(one)
        return one

    yield make
    for one in made:
        one.close()


def test_whoever_stands_still_is_believed(home):
    student, host = Worker(10.0, 10.0 + STIRRED / 2), Worker()
    both = home(student, host)
    both.only(both.host)
    assert not student.runs and host.runs
    both.go_on()
    assert student.runs


def test_whoever_does_not_stand_still_fails_and_all_go_on(home):
    student, host = Worker(10.0, 11.5), Worker()
    both = home(student, host)
    both.only(both.host)
    with pytest.raises(AssertionError, match="while others were timed, it took 1.5 s"):
        both.go_on()
    assert student.runs and host.runs


def test_more_threads_than_are_allowed_show_however_short_it_was(home):
    both = home(Worker(1.0, 1.0 + 0.05), Worker())
    both.threads, both.student.seconds = 1, 0.05
    assert both.student.timed(lambda: "result") == (0.05, "result")
    both = home(Worker(1.0, 1.0 + 0.05 + 2 * SLACK), Worker())
    both.threads, both.student.seconds = 1, 0.05
    with pytest.raises(AssertionError, match="more than 1 threads can"):
        both.student.timed(lambda: "result")


def test_a_little_in_every_pause_is_too_much_in_the_end(home):
    readings = [10.0, 10.02, 20.0, 20.02]
    both = home(Worker(*readings), Worker())
    both.only(both.host)
    both.go_on()
    both.only(both.host)
    with pytest.raises(AssertionError, match="while others were timed, it took 0.04 s"):
        both.go_on()


def test_processor_time_is_not_given_back(home):
    both = home(Worker(10.0, 6.0))
    with pytest.raises(AssertionError, match="gave 4.0 s of processor time back"):
        both.student.timed(lambda: None)
