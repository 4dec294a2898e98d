"""Grades a class: `nox -s gradebook -- SUBMISSIONS --out DIR`.

Every folder and every zip in SUBMISSIONS is a student's, graded behind walls like any other (grader/grade.py), all with
one seed. DIR gets gradebook.csv, a row a student; items.csv, a row a test; and a folder a student. A run that was
stopped, in whatever way, goes on where it was when the same command is given again.

Exit code 0: graded, whatever came of it; 2: the command or the installation is at fault; 130: stopped with Ctrl-C.
"""

import argparse
import csv
import io
import json
import os
import queue
import re
import sys
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path

from rich.progress import BarColumn, Progress, TextColumn

from grader import intake, platforms, similarity, syllabus
from grader.board import Board, is_plain
from grader.check import UsageError
from grader.children import StartError
from grader.grade import SOLUTIONS, add_rules, check_place, chosen, file_names, grade, nothing
from grader.results import ExerciseResult, RunResult, short_name, write_whole
from grader.runner import suite_hash
from grader.sandbox import walls
from grader.scratch import scratch_folder
from grader.syllabus import ROOT, Exercise, SyllabusError, UnknownExercise

HEADLINE = ("size ratio", "speedup", "drift")
OURS = {  # columns of the gradebook that a roster may have, too
    *("student", "points", "of", "scaled", "status", "undecided", "reference stood in for", *HEADLINE, "most like"),
    *("share alike", "share like solutions", "submitted", "commit", "seed", "suite", "sandbox", "note"),
}
FEW = 3  # misconceptions named for one test
MEMORY = 3 << 30  # bytes that grading one submission may well take
FIRST_GUESS = 8.0  # seconds for an exercise, before any was graded
LONGER = 3.0  # times that, for one that is timed


@dataclass
class Member:
    """A student of the class: who it is, what was handed in, and what came of it."""

    name: str
    submission: Path | None
    known: dict[str, str] = field(default_factory=dict)  # from the roster
    contents: str = ""
    refused: str = ""  # why the submission cannot be taken
    pieces: similarity.Pieces = frozenset()
    result: RunResult | None = None
    note: str = ""


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
        deadline: float | None = None,
    ):
        self.members, self.rules, self.built, self.out = members, rules, built, out
        self.first, self.alone = rounds(exercises)
        self.workers, self._tell, self._deadline = workers, tell, deadline
        self.left = Counter({e.name: len(members) for e in exercises})
        self.pace = Pace(workers, {e.name for e in self.alone})
        self._lock = threading.Lock()
        self.scratch: Path | None = None

    def work(self) -> None:
        with scratch_folder("kata-class-") as self.scratch:
            self._all(self.first, self.workers, last=not self.alone)
            self._all(self.alone, 1, last=True)

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
                self._deadline,
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


# ---- the class -------------------------------------------------------------------------------------------------------


def found(submissions: Path, roster: Path | None) -> tuple[list[Member], list[str]]:
    """The members of a class, by what lies in a folder and what a roster says; and what was passed over.

    raises: UsageError
    """
    entries = sorted(entry for entry in submissions.iterdir() if not entry.name.startswith("."))
    handed_in = [e for e in entries if not e.is_symlink() and (e.is_dir() or e.suffix.lower() == ".zip")]
    passed_over = [e.name for e in entries if e not in handed_in]
    stems = Counter(_stem(entry) for entry in handed_in)
    by_name = {entry.name if stems[_stem(entry)] > 1 else _stem(entry): entry for entry in handed_in}
    known = _roster(roster) if roster else {}
    members = [Member(name, path, known.get(name, {})) for name, path in by_name.items()]
    for member in members:
        if roster and member.name not in known:
            member.note = "not in the roster"
    missing = [Member(name, None, row, note="nothing handed in") for name, row in known.items() if name not in by_name]
    return members + missing, passed_over


def take_in(members: Sequence[Member], scratch: Path) -> None:
    """Looks at what was handed in: whether it can be taken, its hash, and what its code looks like."""
    stubs = sorted((ROOT / "exercises").glob("ex*.py"))
    for number, member in enumerate(members):
        folder = scratch / str(number)
        try:
            taken = intake.take(member.submission, folder, file_names())
            member.contents = taken.contents
            member.pieces = similarity.pieces([folder / name for name in taken.names], stubs)
        except Exception as error:  # whatever is in there, it is this student's affair
            member.refused = f"cannot be taken: {error}"
            member.contents = "none"


def _stem(entry: Path) -> str:
    return entry.stem if entry.is_file() else entry.name


def _roster(file: Path) -> dict[str, dict[str, str]]:
    """Rows by folder name; the column `folder` has it, or else the first column."""
    try:
        with file.open(encoding="utf-8-sig", newline="") as opened:
            reader = csv.DictReader(opened)
            columns = reader.fieldnames or []
            rows = list(reader)
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        raise UsageError(f"the roster {file} cannot be read: {error}") from None
    key = next((column for column in columns if column.strip().lower() == "folder"), columns[0] if columns else "")
    if not key or not rows:
        raise UsageError(f"the roster {file} has no rows: give a CSV with a column `folder`, and names as you like")
    known: dict[str, dict[str, str]] = {}
    for row in rows:
        name = (row[key] or "").strip()
        if name in known:
            raise UsageError(f"the roster {file} has {name!r} twice")
        if name:
            known[name] = {column: (row[column] or "") for column in columns if column != key}
    return known


# ---- the tables ------------------------------------------------------------------------------------------------------


def gradebook(members: Sequence[Member], exercises: Sequence[Exercise], likeness: dict) -> str:
    """A row a student, those of the roster who handed nothing in included."""
    extra = list(dict.fromkeys(column for member in members for column in member.known))
    maximum = sum(e.points for e in exercises)
    rows = []
    for member in members:
        result = member.result
        of = {e.name: e for e in result.exercises} if result else {}
        like, like_solutions = likeness.get(member.name, (None, 0.0))
        undecided = [f"{short_name(e.name)} {f.title}" for e in of.values() for f in e.functions if _undecided(f)]
        row = {"student": member.name} | {_of_roster(column): member.known.get(column, "") for column in extra}
        row |= {"points": result.earned if result else 0, "of": maximum}
        row |= {"scaled": platforms.scaled(result) if result else 0}
        row |= {e.short: of[e.name].earned if e.name in of else 0 for e in exercises}
        row |= {"status": _status(member), "undecided": "; ".join(undecided)}
        stood_in = sorted({short_name(n) for e in of.values() for n in e.stood_in})
        row |= {"reference stood in for": " ".join(stood_in)}
        row |= {
            name: round(result.measured[name], 4) if result and name in result.measured else "" for name in HEADLINE
        }
        row |= {"most like": like.other if like else "", "share alike": round(like.share, 2) if like else ""}
        row |= {"share like solutions": round(like_solutions, 2)}
        row |= {"submitted": result.submitted if result else "", "commit": result.commit if result else ""}
        row |= {"seed": result.seed if result else "", "suite": result.suite[:12] if result else ""}
        row |= {"sandbox": result.sandbox if result else "", "note": member.note}
        rows.append(row)
    return _csv(rows)


def items(members: Sequence[Member], exercises: Sequence[Exercise]) -> str:
    """A row a test: how many passed it, and the known mistakes that failed ones look like."""
    graded = [m.result for m in members if m.result and not m.refused]
    rows = []
    for exercise in exercises:
        suites = [e for result in graded for e in result.exercises if e.name == exercise.name]
        for name in dict.fromkeys(f.name for suite in suites for f in suite.functions):
            tries = [f for suite in suites for f in suite.functions if f.name == name]
            states = Counter(f.state for f in tries)
            judged = len(tries) - states["undecided"]
            mistakes = Counter(mistake for f in tries for mistake in f.misconceptions)
            common = [f"{mistake.replace('_', ' ')} ({n})" for mistake, n in mistakes.most_common(FEW)]
            rows.append(
                {"exercise": exercise.short, "test": tries[0].title, "points": tries[0].points, "students": len(tries)}
                | {"passed": states["passed"], "share passed": round(states["passed"] / judged, 3) if judged else ""}
                | {"not started": states["not started"], "undecided": states["undecided"]}
                | {"commonest mistakes": "; ".join(common)}
            )
    return _csv(rows)


def _of_roster(column: str) -> str:
    """A column of the roster that is not called like one of ours."""
    return f"roster {column}" if column in OURS or re.fullmatch(r"ex\d\d", column) else column


def _status(member: Member) -> str:
    if member.refused:
        return member.refused
    if member.submission is None:
        return "nothing handed in"
    if member.result and member.result.broken:
        return f"not graded: {member.result.broken}"
    return "graded" if member.result else "not graded yet"


def _undecided(function) -> bool:
    return function.outcome == "undecided"


def _csv(rows: list[dict]) -> str:
    text = io.StringIO()
    if rows:
        writer = csv.DictWriter(text, rows[0].keys(), lineterminator="\n")
        writer.writeheader()
        writer.writerows({key: _harmless(value) for key, value in row.items()} for row in rows)
    return text.getvalue()


def _harmless(value):
    """A cell that no spreadsheet takes for a formula (OWASP: CSV injection)."""
    value = platforms.legible(value) if isinstance(value, str) else value
    return f"'{value}" if isinstance(value, str) and value.startswith(("=", "+", "-", "@", "\t", "\r")) else value


def _read(file: Path) -> RunResult | None:
    try:
        return RunResult.from_json(file.read_text(encoding="utf-8"))
    except (OSError, ValueError, KeyError, TypeError):
        return None


# ---- the command -----------------------------------------------------------------------------------------------------


def main(argv: list[str] | None = None) -> int:
    try:
        return _main(_parse(argv))
    except (UsageError, UnknownExercise, SyllabusError, StartError) as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        return 130


def _main(options: argparse.Namespace) -> int:
    exercises, board = chosen(options), Board(is_plain(options.plain))
    check_place(options)
    if not options.submissions.is_dir():
        raise UsageError(f"there is no folder {options.submissions}: name the one that holds the submissions")
    members, passed_over = found(options.submissions, options.roster)
    if not any(member.submission for member in members):
        raise UsageError(f"{options.submissions} holds no submission: a folder or a zip for each student")
    for name in passed_over:
        board.print(f"passed over: {name} is neither a folder nor a zip")
    built = walls.best()
    rules = Class(
        options.seed,
        suite_hash(),
        tuple(e.name for e in exercises),
        not options.no_stand_in,
        built.tier,
        options.deadline,
    )
    _same_class(options.out, rules)
    memory = os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    workers = options.workers or max(1, min(4, os.cpu_count() or 1, memory // MEMORY))
    if workers > 1 and not built.apart:
        board.print("one at a time: behind these walls submissions could end each other's processes")
        workers = 1
    handed_in = [member for member in members if member.submission]
    board.print(f"sandbox: {built.tier}", f"{len(handed_in)} submissions, {workers} at a time; speed is measured alone")
    with scratch_folder("kata-taken-") as scratch:
        take_in(handed_in, scratch)
    reference = similarity.pieces(sorted(SOLUTIONS.glob("ex*.py")), sorted((ROOT / "exercises").glob("ex*.py")))
    likeness = similarity.compare({m.name: m.pieces for m in handed_in if not m.refused}, reference)

    def tables() -> None:
        write_whole(options.out / "gradebook.csv", gradebook(members, exercises, likeness))
        write_whole(options.out / "items.csv", items(members, exercises))

    tables()  # without a point, for the time being
    began = time.monotonic()
    with Bar(board, len(handed_in)) as bar:

        def tell(desk: Desk, member: Member | None) -> None:
            bar.show(desk, member)
            if member:
                tables()

        desk = Desk(handed_in, exercises, rules, built, options.out, workers, tell, options.deadline)
        try:
            desk.work()
        except KeyboardInterrupt:
            bar.close()
            print("stopped: give the same command again to go on", file=sys.stderr, flush=True)
            os._exit(130)  # what still runs ends with this process
    tables()
    seconds = time.monotonic() - began
    board.print(f"{len(handed_in)} graded in {_span(seconds)}: {options.out / 'gradebook.csv'}, items.csv, students/")
    broken = [member.name for member in handed_in if member.result and member.result.broken]
    if broken:
        board.print(f"not graded, through no fault of theirs: {', '.join(broken)}; give the same command again")
    return 2 if broken else 0


def _same_class(out: Path, rules: Class) -> None:
    """A gradebook has one set of rules: another needs another folder."""
    if out.exists() and not out.is_dir():
        raise UsageError(f"{out} is a file: --out needs a folder")
    out.mkdir(parents=True, exist_ok=True)
    file, mine = out / "class.json", json.loads(json.dumps(asdict(rules)))
    if file.is_file():
        there = json.loads(file.read_text(encoding="utf-8"))
        different = [key for key in mine if there.get(key) != mine[key]]
        if different:
            key = different[0]
            raise UsageError(f"{out} was graded with {key} {there.get(key)}, and this is {mine[key]}: name a new --out")
    write_whole(file, json.dumps(mine, indent=2) + "\n")


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

    def show(self, desk: Desk, member: Member | None) -> None:
        """member: whose result is there now; None: an exercise of somebody's is"""
        self._done += member is not None
        left = desk.pace.seconds(desk.left.elements())
        words = f"about {_span(left)} left" if left else ""
        if self._bar:
            of = len(desk.members) * (len(desk.first) + len(desk.alone))
            shown = f"grading: {self._done} of {self._students} students"
            self._bar.update(self._task, description=shown, total=of, completed=of - desk.left.total(), left=words)
        elif member:
            points = f"{member.result.earned} of {member.result.points} points"
            self._board.print(f"{self._done} of {self._students}: {member.name}, {points}; {words or 'all done'}")


def _span(seconds: float) -> str:
    return f"{seconds:.0f} s" if seconds < 90 else f"{seconds / 60:.0f} min"


def _parse(argv: list[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="nox -s gradebook --", description="Grades a class in a sandbox.")
    parser.add_argument("submissions", type=Path, metavar="SUBMISSIONS", help="a folder with a folder or zip a student")
    parser.add_argument("--out", type=Path, required=True, metavar="DIR", help="for the tables and results")
    parser.add_argument("--roster", type=Path, metavar="CSV", help="who is who: a column `folder`, others as you like")
    parser.add_argument(
        "--workers", type=int, choices=range(1, 33), metavar="N", help="so many at a time (cores, <= 4)"
    )
    add_rules(parser)
    parser.add_argument("--deadline", type=float, metavar="SECONDS", help="for a test that names none of its own (20)")
    return parser.parse_args(argv)


if __name__ == "__main__":
    sys.exit(main())
