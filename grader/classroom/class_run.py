"""Grades a class: a few submissions at a time, what is timed alone, and nothing twice."""

import contextlib
import json
import os
import queue
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

from grader.classroom.grade_submission import grade, nothing
from grader.classroom.roster import Member
from grader.results import exports, syllabus
from grader.results.errors import UsageError
from grader.results.model import FINISHED, FORMAT, ExerciseResult, RunResult
from grader.results.safe_files import hold, scratch_folder, write_whole
from grader.results.syllabus import Exercise
from grader.run.suite_process import StartError, Stopped
from grader.sandbox import policy

MEMORY = 3 << 30  # bytes that grading one submission may well take
CLASS = "kata-class-"  # begins the name of the folder for what is under way
FIRST_GUESS = 8.0  # seconds for an exercise, before any was graded
TRUST = 3  # so many measured ones weigh as much as the guess: the first few may all be stubs, which take no time
LONGER = 3.0  # times that, for one that is timed
STOP_SECONDS = 20  # for what is under way to end; after that it is left alone, and nothing comes of it


@dataclass(frozen=True)
class Rules:
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

    def seconds(self, remaining: Iterable[str]) -> float:
        """remaining: the exercises still to be graded, one entry for each student"""
        return sum(self._one(name) / (1 if name in self._timed else self._workers) for name in remaining)

    def _one(self, exercise: str) -> float:
        seen = self._seen.get(exercise, [])
        guess = FIRST_GUESS * (LONGER if exercise in self._timed else 1)
        return (TRUST * guess + sum(seen)) / (TRUST + len(seen))


class ClassRun:
    """Grades the members of a class, a few at a time, and what is timed one at a time with nothing beside it.

    A test whose time ran out while others were at work is tried again alone, and so is what was run without it.
    """

    def __init__(
        self,
        members: Sequence[Member],
        exercises: Sequence[Exercise],
        rules: Rules,
        built: policy.Walls,
        out: Path,
        workers: int,
        tell: Callable[["ClassRun", Member | None], None],
    ):
        self.members, self.rules, self.built, self.out = members, rules, built, out
        first, alone = rounds(exercises)
        self.first, self.alone = ([], list(exercises)) if workers == 1 else (first, alone)
        self.exercises = list(exercises)
        self.workers, self._tell = workers, tell
        self.remaining = Counter({e.name: len(members) for e in exercises})
        self.pace = Pace(workers, {e.name for e in alone})
        self.stopped = threading.Event()  # from here on nothing is written or told
        self._concluded: set[str] = set()  # names
        self._threads: list[threading.Thread] = []
        self._lock = threading.Lock()
        self.scratch: Path | None = None

    def work(self) -> None:
        with scratch_folder(CLASS) as self.scratch:
            try:
                if self.first:
                    self._all(self._beside_others, self.workers)
                self._all(self._by_itself, 1)
            finally:
                self._stop()

    def progress(self) -> tuple[float, float]:
        """The share of all exercises that is graded, from 0 to 1, and about how many seconds the rest will take."""
        of = len(self.members) * len(self.exercises)
        return 1 - self.remaining.total() / of, self.pace.seconds(self.remaining.elements())

    def finished(self, exercises: Iterable[str], seconds: float | None = None) -> None:
        """seconds: that it took; None: it did not have to be graded"""
        with self._lock:
            for name in exercises:
                self.remaining[name] -= 1
                if seconds is not None:
                    self.pace.note(name, seconds)
            if not self.stopped.is_set():
                self._tell(self, None)

    def _all(self, one: Callable[[int, Member], None], workers: int) -> None:
        """Every member's share of a round, in daemon threads: Ctrl-C is not kept waiting for them."""
        waiting: queue.SimpleQueue[tuple[int, Member]] = queue.SimpleQueue()
        for number, member in enumerate(self.members):
            waiting.put((number, member))
        faults: list[Exception] = []

        def serve() -> None:
            while not faults and not self.stopped.is_set():
                try:
                    number, member = waiting.get_nowait()
                except queue.Empty:
                    return
                try:
                    one(number, member)
                except Stopped:
                    return
                except Exception as error:
                    faults.append(error)

        self._threads = [threading.Thread(target=serve, daemon=True) for _ in range(workers)]
        for thread in self._threads:
            thread.start()
        for thread in self._threads:
            while thread.is_alive():
                thread.join(0.2)  # in pieces, so that Ctrl-C is heard
        if faults:
            raise faults[0]

    def _stop(self) -> None:
        """Ends what is under way, before the files that it needs are removed."""
        self.stopped.set()
        end = time.monotonic() + STOP_SECONDS
        for thread in self._threads:
            if thread.ident is not None:
                thread.join(max(0.0, end - time.monotonic()))

    def _beside_others(self, number: int, member: Member) -> None:
        """The first round, and the last one for those who need no other."""
        if self._is_known(number, member):
            return
        earlier_result = self._first(member)
        if earlier_result:
            self.finished(e.name for e in self.first)
        else:
            earlier_result = self._graded(number, member, self.first, None)
            with self._lock:
                self._write(member, "first.json", earlier_result.to_json())
        if not self.alone and not earlier_result.broken and not _overdue(earlier_result):
            self._conclude(member, earlier_result)

    def _by_itself(self, number: int, member: Member) -> None:
        """What is left: exercises that are timed, and whatever a busy machine may have spoiled."""
        if member.name in self._concluded or self._is_known(number, member):
            return
        earlier_result = self._first(member)
        if earlier_result is None:  # not even that, or not in order: from the beginning
            self._once_more(e.name for e in self.first)
            self._conclude(member, self._graded(number, member, self.exercises, None))
            return
        graded = {e.name for e in earlier_result.exercises}
        self.finished(graded - {e.name for e in self.first})
        wanted = {e.name for e in self.exercises} - graded
        if spoiled := _overdue(earlier_result):
            self._once_more(spoiled)
            earlier_result = self._graded(number, member, self._named(spoiled), earlier_result)
            without = _without(
                earlier_result, {e.name for e in earlier_result.exercises if e.name in spoiled and e.state in FINISHED}
            )
            self._once_more(without)
            wanted |= without
        if wanted:
            earlier_result = self._graded(number, member, self._named(wanted), earlier_result)
        self._conclude(member, earlier_result)

    def _is_known(self, number: int, member: Member) -> bool:
        """Whether there is nothing to grade: it cannot be taken, or an earlier run came to the end of it."""
        if member.refused:
            tier = self.built.of_its_own(number).tier
            result = nothing(member.submission, self.exercises, self.rules.seed, member.refused, tier)
            result.submission, result.contents = member.name, member.contents
        else:
            result = self._kept(member, "kata.json")
            if not result or {e.name for e in self.exercises} - {e.name for e in result.exercises}:
                return False
        self.finished(e.name for e in self.exercises)
        self._conclude(member, result, is_new=bool(member.refused))
        return True

    def _first(self, member: Member) -> RunResult | None:
        """What the first round found, in this run or an earlier one."""
        result = self._kept(member, "first.json")
        return result if result and {e.name for e in self.first} <= {e.name for e in result.exercises} else None

    def _kept(self, member: Member, file: str) -> RunResult | None:
        result = _read(self.out / "students" / member.name / file)
        return result if result and result.contents == member.contents and not result.broken else None

    def _named(self, names: set[str]) -> list[Exercise]:
        return [e for e in self.exercises if e.name in names]

    def _once_more(self, names: Iterable[str]) -> None:
        with self._lock:
            self.remaining.update(names)

    def _graded(
        self, number: int, member: Member, exercises: Sequence[Exercise], before: RunResult | None
    ) -> RunResult:
        """raises: StartError, Stopped"""
        wanted, timer = {e.name for e in exercises}, _Timer(self)
        order = [e.name for e in syllabus.load()]
        rest = [e for e in before.exercises if e.name not in wanted] if before else []
        earlier = [e for e in rest if order.index(e.name) < max(map(order.index, wanted))]
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
                stopped=self.stopped,
            )
            why = "" if result.contents == member.contents else "the submission changed while the class was graded"
        except (StartError, Stopped):
            raise
        except Exception as error:  # a fault of the grader's own costs one submission, and says so
            why = f"the grader stumbled: {type(error).__name__}: {error}"
        if why:
            result = nothing(member.submission, exercises, self.rules.seed, why, built.tier, kind="environment")
        self.finished(wanted - timer.reported)
        result.submission, result.contents = member.name, member.contents
        result.exercises = sorted([*rest, *result.exercises], key=lambda e: order.index(e.name))
        return result

    def _conclude(self, member: Member, result: RunResult, is_new: bool = True) -> None:
        with self._lock:
            if is_new:
                self._write(member, "kata.json", result.to_json())
            self._write(member, "feedback.txt", exports.feedback(result))
            (self.out / "students" / member.name / "first.json").unlink(missing_ok=True)
            member.result = result
            self._concluded.add(member.name)
            self._tell(self, member)

    def _write(self, member: Member, file: str, text: str) -> None:
        """raises: Stopped"""
        if self.stopped.is_set():
            raise Stopped
        folder = self.out / "students" / member.name
        folder.mkdir(parents=True, exist_ok=True)
        write_whole(folder / file, text)


class _Timer:
    """Tells the run how long exercises take."""

    def __init__(self, run: ClassRun):
        self._run, self._since = run, time.monotonic()
        self.reported: set[str] = set()

    def testing(self, *_) -> None: ...
    def within(self, *_) -> None: ...

    def finished(self, result: ExerciseResult) -> None:
        now = time.monotonic()
        self._run.finished([result.name], now - self._since)
        self._since = now
        self.reported.add(result.name)


@contextlib.contextmanager
def sole_run(out: Path) -> Iterator[None]:
    """One run at a time writes into a folder."""
    out.mkdir(parents=True, exist_ok=True)
    file = out / ".lock"
    file.touch()
    lock = hold(file)
    if lock is None:
        raise UsageError(f"another run is at work in {out}: wait until it is done, or name another --out")
    try:
        yield
    finally:
        os.close(lock)


def same_class(out: Path, rules: Rules) -> None:
    """A gradebook has one set of rules: another needs another folder."""
    out.mkdir(parents=True, exist_ok=True)
    file, own_rules = out / "class.json", {"format": FORMAT} | json.loads(json.dumps(asdict(rules)))
    if file.is_file():
        try:
            written = dict(json.loads(file.read_bytes()))
        except (ValueError, TypeError):
            raise UsageError(f"{file} is damaged: remove it if {out} is this class's, or name a new --out") from None
        if written.get("format") != FORMAT:
            raise UsageError(
                f"{out} was graded by an earlier version, whose results cannot be gone on with: name a new --out"
            )
        different = [key for key in own_rules if written.get(key) != own_rules[key]]
        if different:
            key = different[0]
            raise UsageError(
                f"{out} was graded with {key} {written.get(key)}, and this is {own_rules[key]}: name a new --out"
            )
    write_whole(file, json.dumps(own_rules, indent=2) + "\n")


def workers_for(wished: int | None) -> int:
    """How many submissions are graded at a time, where nobody says it: by cores and memory."""
    memory = os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    return wished or max(1, min(4, os.cpu_count() or 1, memory // MEMORY))


def rounds(exercises: Sequence[Exercise]) -> tuple[list[Exercise], list[Exercise]]:
    """Those that may run beside others, and those that may not or that build on such: they come last."""
    alone: list[Exercise] = []
    for exercise in exercises:
        if exercise.timed or {e.name for e in alone} & set(exercise.needs):
            alone.append(exercise)
    return [e for e in exercises if e not in alone], alone


def _overdue(result: RunResult) -> set[str]:
    """The exercises in which a test did not come to its end in time."""
    return {e.name for e in result.exercises if any(f.outcome == "timeout" for f in e.functions)}


def _without(result: RunResult, exercises: set[str]) -> set[str]:
    """The exercises that waited for one of these, or ran with the reference in its place."""
    found: set[str] = set()
    for exercise in result.exercises:
        if (exercises | found) & {*exercise.waits_for, *exercise.stood_in}:
            found.add(exercise.name)
    return found


def _read(file: Path) -> RunResult | None:
    try:
        return RunResult.from_json(file.read_text(encoding="utf-8"))
    except (OSError, ValueError, KeyError, TypeError):
        return None
