"""What is said while a command is at work: in one line that changes on a terminal, else in a line now and then."""

from rich.progress import BarColumn, Progress, TextColumn

from grader.results.model import ExerciseResult, RunResult
from grader.results.syllabus import Exercise
from grader.results.text import legible, short_name
from grader.screen.board import Board


class Live:
    """Says what is going on: in one line that changes on a terminal, else in a line per finished exercise."""

    def __init__(self, board: Board):
        self.board = board
        live = board.console.is_terminal and not board.plain
        self.status = board.console.status(board.text("getting ready")) if live else None

    def __enter__(self):
        if self.status:
            self.status.start()
        return self

    def __exit__(self, *_):
        if self.status:
            self.status.stop()

    def testing(self, exercise: Exercise, test: str, done: int, total: int) -> None:
        if self.status:
            self.status.update(self.board.text(f"{exercise.short}  {test}  ({done + 1} of {total})"))

    def finished(self, result: ExerciseResult) -> None:
        if not self.status and result.state != "waiting":
            words = f"{short_name(result.name)} {result.state}, {result.earned} of {result.points} points"
            self.board.print(f"{words}, {result.seconds:.1f} s")


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
