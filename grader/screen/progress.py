"""What is said while a command is at work: in one line that changes on a terminal, else in a line now and then."""

import time

from rich.progress import BarColumn, Progress, TextColumn
from rich.text import Text

from grader.results.model import ExerciseResult, RunResult
from grader.results.syllabus import Exercise
from grader.results.text import legible, short_name
from grader.screen.board import Board

PATIENCE = 3  # seconds of a test, from which on they are counted on the screen


class Live:
    """Says what is going on: in one line that changes on a terminal, else in a line per finished exercise.

    The seconds are those that a person waited.
    """

    def __init__(self, board: Board):
        self.board = board
        live = board.console.is_terminal and not board.plain
        self._now = _Now(board)
        self._began = time.monotonic()  # what is at work now
        self.status = board.console.status(self._now) if live else None

    def __enter__(self):
        if self.status:
            self.status.start()
        return self

    def __exit__(self, *_):
        if self.status:
            self.status.stop()

    def testing(self, exercise: Exercise, test: str, done: int, total: int) -> None:
        self._now.begin(f"{exercise.short}  {test}  ({done + 1} of {total})")

    def within(self, part: str) -> None:
        """How far the test is: "round 3 of 21"."""
        self._now.part = part

    def finished(self, result: ExerciseResult) -> None:
        waited, self._began = time.monotonic() - self._began, time.monotonic()
        if not self.status and result.state != "waiting":
            words = f"{short_name(result.name)} {result.state}, {result.earned} of {result.points} points"
            self.board.print(f"{words}, {waited:.1f} s")


class _Now:
    """What is at work, and for how long: rich asks several times a second."""

    def __init__(self, board: Board):
        self._board = board
        self.begin("getting ready")

    def begin(self, what: str) -> None:
        self._what, self.part, self._since = what, "", time.monotonic()

    def __rich__(self) -> Text:
        seconds = int(time.monotonic() - self._since)
        waited = f"{seconds} s" if seconds >= PATIENCE else ""
        return self._board.text("  ".join(filter(None, (self._what, self.part, waited))))


class Bar:
    """How far it is: a bar on a terminal, else a line a student."""

    def __init__(self, board: Board, students: int):
        self._board = board
        self._bar = None
        if board.console.is_terminal and not board.plain:
            columns = (TextColumn("{task.description}"), BarColumn(), TextColumn("{task.fields[left]}"))
            self._bar = Progress(*columns, console=board.console, transient=True)
            self._task = self._bar.add_task("grading", total=None, left="")
        self._students, self._done = students, 0

    def __enter__(self):
        if self._bar:
            self._bar.start()
        return self

    def __exit__(self, *_):
        self.close()

    def close(self) -> None:
        if self._bar:
            self._bar.stop()

    def show(self, share: float, seconds: float, finished: RunResult | None = None) -> None:
        """share: of the work that is done, from 0 to 1; seconds: what is left of it, about
        finished: a student's result that is there now
        """
        self._done += finished is not None
        words = f"about {span(seconds)} left" if seconds else ""
        if self._bar:
            shown = f"grading: {self._done} of {self._students} students"
            self._bar.update(self._task, description=shown, total=1.0, completed=share, left=words)
        elif finished:
            points = f"{finished.earned} of {finished.points} points"
            self._board.print(
                f"{self._done} of {self._students}: {legible(finished.submission)}, {points}; {words or 'all done'}"
            )


def span(seconds: float) -> str:
    whole = round(seconds)
    return f"{whole} s" if whole < 90 else f"{whole // 60} min {whole % 60} s"
