"""Where a class is graded: a few submissions at a time, what is timed alone, and nothing twice."""

import queue
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

from grader import platforms, syllabus
from grader.children import StartError
from grader.grade import grade, nothing
from grader.members import Member
from grader.results import ExerciseResult, RunResult, write_whole
from grader.sandbox import walls
from grader.scratch import scratch_folder
from grader.syllabus import Exercise

FIRST_GUESS = 8.0  # seconds for an exercise, before any was graded
LONGER = 3.0  # times that, for one that is timed


@dataclass(frozen=True)
class Class:
    """What all of a class is graded with."""

    seed: int
    suite: str
    exercises: tuple[str, ...]
    stand_in: bool
    sandbox: str
    deadline: float | None


class Pace:
    """How long it will take, judging by what was graded so far."""

    def __init__(self, workers: int, timed: set[str]):
        self._workers, self._timed = workers, timed
        self._seen: dict[str, list[float]] = {}

    def note(self, exercise: str, seconds: float) -> None:
        self._seen.setdefault(exercise, []).append(seconds)

    def seconds(self, left: Iterable[str]) -> float:
        """left: the exercises still to be graded, one entry for each student"""
        return sum(self._one(name) / (1 if name in self._timed else self._workers) for name in left)

    def _one(self, exercise: str) -> float:
        seen = self._seen.get(exercise)
        return sum(seen) / len(seen) if seen else FIRST_GUESS * (LONGER if exercise in self._timed else 1)


class Desk:
    """Grades the members of a class, a few at a time, and what is timed one at a time with nothing beside it."""

    def __init__(
        self,
        members: Sequence[Member],
        exercises: Sequence[Exercise],
        rules: Class,
        built: walls.Walls,
        out: Path,
        workers: int,
        tell: Callable[["Desk", Member | None], None],
    ):
        self.members, self.rules, self.built, self.out = members, rules, built, out
        self.first, self.alone = rounds(exercises)
        self.workers, self._tell = workers, tell
        self.left = Counter({e.name: len(members) for e in exercises})
        self.pace = Pace(workers, {e.name for e in self.alone})
        self._lock = threading.Lock()
        self.scratch: Path | None = None

    def work(self) -> None:
        with scratch_folder("kata-class-") as self.scratch:
            self._all(self.first, self.workers, last=not self.alone)
            self._all(self.alone, 1, last=True)

    def progress(self) -> tuple[float, float]:
        """The share of all exercises that is graded, from 0 to 1, and about how many seconds the rest will take."""
        of = len(self.members) * (len(self.first) + len(self.alone))
        return 1 - self.left.total() / of, self.pace.seconds(self.left.elements())

    def finished(self, exercises: Iterable[str], seconds: float | None = None) -> None:
        """seconds: that it took; None: it did not have to be graded"""
        with self._lock:
            for name in exercises:
                self.left[name] -= 1
                if seconds is not None:
                    self.pace.note(name, seconds)
            self._tell(self, None)

    def _all(self, exercises: Sequence[Exercise], workers: int, last: bool) -> None:
        """Every member's share of this round, in daemon threads: Ctrl-C is not kept waiting for them."""
        if not exercises:
            return
        waiting: queue.SimpleQueue[tuple[int, Member]] = queue.SimpleQueue()
        for number, member in enumerate(self.members):
            waiting.put((number, member))
        faults: list[Exception] = []

        def serve() -> None:
            while not faults:
                try:
                    number, member = waiting.get_nowait()
                except queue.Empty:
                    return
                try:
                    self._one(number, member, exercises, last)
                except Exception as error:
                    faults.append(error)

        threads = [threading.Thread(target=serve, daemon=True) for _ in range(workers)]
        for thread in threads:
            thread.start()
        for thread in threads:
            while thread.is_alive():
                thread.join(0.2)  # in pieces, so that Ctrl-C is heard
        if faults:
            raise faults[0]

    def _one(self, number: int, member: Member, exercises: Sequence[Exercise], last: bool) -> None:
        folder = self.out / "students" / member.name
        had = next((r for r in map(_read, _kept(folder)) if r and r.contents == member.contents and not r.broken), None)
        wanted = {e.name for e in exercises}
        if had and wanted <= {e.name for e in had.exercises}:
            result = had
            self.finished(wanted)
        else:
            timer = _Timer(self)
            result = self._graded(number, member, exercises, had, timer)
            self.finished(wanted - timer.told)
            folder.mkdir(parents=True, exist_ok=True)
            write_whole(folder / ("kata.json" if last else "first.json"), result.to_json())
        if last:
            write_whole(folder / "feedback.txt", platforms.feedback(result))
            (folder / "first.json").unlink(missing_ok=True)
            with self._lock:
                member.result = result
                self._tell(self, member)

    def _graded(
        self, number: int, member: Member, exercises: Sequence[Exercise], before: RunResult | None, timer: "_Timer"
    ) -> RunResult:
        earlier = before.exercises if before else []
        built = self.built.of_its_own(number)
        try:
            result = grade(
                member.submission,
                exercises,
                self.rules.seed,
                timer,
                built,
                self.rules.stand_in,
                self.rules.deadline,
                self.scratch,
                earlier,
            )
        except StartError:
            raise
        except Exception as error:  # a fault of the grader's own costs one submission, and says so
            why = f"the grader stumbled: {type(error).__name__}: {error}"
            result = nothing(member.submission, exercises, self.rules.seed, why, built.tier, kind="environment")
        result.submission, result.contents = member.name, member.contents
        order = [e.name for e in syllabus.load()]
        result.exercises = sorted([*earlier, *result.exercises], key=lambda e: order.index(e.name))
        return result


class _Timer:
    """Tells the desk how long exercises take."""

    def __init__(self, desk: Desk):
        self._desk, self._since = desk, time.monotonic()
        self.told: set[str] = set()

    def testing(self, *_) -> None: ...

    def finished(self, result: ExerciseResult) -> None:
        now = time.monotonic()
        self._desk.finished([result.name], now - self._since)
        self._since = now
        self.told.add(result.name)


def _kept(folder: Path) -> tuple[Path, Path]:
    """What an earlier run left of a submission: all of it, or its first round."""
    return folder / "kata.json", folder / "first.json"


def rounds(exercises: Sequence[Exercise]) -> tuple[list[Exercise], list[Exercise]]:
    """Those that may run beside others, and those that may not or that build on such: they come last."""
    alone: list[Exercise] = []
    for exercise in exercises:
        if exercise.timed or {e.name for e in alone} & set(exercise.needs):
            alone.append(exercise)
    return [e for e in exercises if e not in alone], alone


def _read(file: Path) -> RunResult | None:
    try:
        return RunResult.from_json(file.read_text(encoding="utf-8"))
    except (OSError, ValueError, KeyError, TypeError):
        return None
