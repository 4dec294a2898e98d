"""`nox -s gradebook -- SUBMISSIONS --out DIR`: grades a class.

Every folder and every zip in SUBMISSIONS is a student's, graded in the sandbox, all with one seed. DIR gets
gradebook.csv, a row a student; items.csv, a row a test; and a folder a student. A run that was stopped, in whatever
way, goes on where it was when the same command is given again.

Exit code 0: graded, whatever came of it; 2: the command or the installation is at fault; 130: stopped with Ctrl-C.
"""

import argparse
import os
import sys
import time
from collections.abc import Sequence
from pathlib import Path

from grader.classroom import gradebook_csv, likeness
from grader.classroom.class_run import CLASS, ClassRun, Rules, same_class, sole_run, workers_for
from grader.classroom.roster import Member, doubts, found, remedy, take_in
from grader.commands.command_line import add_rules, check_place, chosen, deadline_of, outcome
from grader.results.errors import UsageError
from grader.results.paths import ROOT, SOLUTIONS
from grader.results.safe_files import scratch_folder, sweep, write_whole
from grader.results.syllabus import Exercise
from grader.results.text import legible
from grader.run.runner import EXERCISE_SECONDS, suite_hash
from grader.sandbox import policy
from grader.screen.board import Board, is_plain
from grader.screen.progress import Bar, span

TAKEN = "kata-taken-"  # begins the names of scratch folders


def main(argv: list[str] | None = None) -> int:
    return outcome(lambda: _main(_parse(argv)))


def _main(options: argparse.Namespace) -> int:
    exercises = chosen(options)
    check_place(options)
    if not options.submissions.is_dir():
        raise UsageError(f"there is no folder {options.submissions}: name the one that holds the submissions")
    if options.out.resolve().is_relative_to(options.submissions.resolve()):
        raise UsageError(f"{options.out} lies in {options.submissions}, as a submission does: name a folder beside it")
    if options.out.exists() and not options.out.is_dir():
        raise UsageError(f"{options.out} is a file: --out needs a folder")
    members, passed_over = found(options.submissions, options.roster)
    if not any(member.submission for member in members):
        raise UsageError(f"{options.submissions} holds no submission: a folder or a zip for each student")
    board = Board(is_plain(options.plain))
    for name in passed_over:
        board.print(f"passed over: {legible(remedy(options.submissions / name))}")
    for doubt in doubts(members):
        board.print(f"warning: {legible(doubt)}")
    with sole_run(options.out):
        return _grade(options, exercises, members, board)


def _grade(options: argparse.Namespace, exercises: Sequence[Exercise], members: Sequence[Member], board: Board) -> int:
    built = policy.best()
    rules = Rules(
        options.seed,
        suite_hash(),
        tuple(e.name for e in exercises),
        not options.no_stand_in,
        built.tier,
        options.deadline,
    )
    same_class(options.out, rules)
    workers = workers_for(options.workers)
    if workers > 1 and not built.apart:
        board.print("one at a time: in this sandbox submissions could end each other's processes")
        workers = 1
    handed_in = [member for member in members if member.submission]
    board.print(f"sandbox: {built.tier}", f"{len(handed_in)} submissions, {workers} at a time; speed is measured alone")
    for prefix in (TAKEN, CLASS):
        sweep(prefix)
    with scratch_folder(TAKEN) as scratch:
        take_in(handed_in, scratch)
    reference = likeness.pieces(sorted(SOLUTIONS.glob("ex*.py")), sorted((ROOT / "exercises").glob("ex*.py")))
    alike = likeness.compare({m.name: m.pieces for m in handed_in if not m.refused}, reference)

    def write_tables() -> None:
        write_whole(options.out / "gradebook.csv", gradebook_csv.students(members, exercises, alike))
        write_whole(options.out / "items.csv", gradebook_csv.items(members, exercises))

    write_tables()  # without a point, for the time being
    began = time.monotonic()
    with Bar(board, len(handed_in)) as bar:

        def tell(run: ClassRun, member: Member | None) -> None:
            bar.show(*run.progress(), member and member.result)
            if member:
                write_tables()

        run = ClassRun(handed_in, exercises, rules, built, options.out, workers, tell)
        try:
            run.work()
        except KeyboardInterrupt:
            bar.close()
            print("stopped: give the same command again to go on", file=sys.stderr, flush=True)
            os._exit(130)  # what still runs ends with this process
    write_tables()
    seconds = time.monotonic() - began
    board.print(f"{len(handed_in)} graded in {span(seconds)}: {options.out / 'gradebook.csv'}, items.csv, students/")
    broken = [legible(member.name) for member in handed_in if member.result and member.result.broken]
    if broken:
        board.print(f"not graded, through no fault of theirs: {', '.join(broken)}; give the same command again")
    return 2 if broken else 0


def _parse(argv: list[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="nox -s gradebook --", description="Grades a class in a sandbox.")
    parser.add_argument("submissions", type=Path, metavar="SUBMISSIONS", help="a folder with a folder or zip a student")
    parser.add_argument("--out", type=Path, required=True, metavar="DIR", help="for the tables and results")
    parser.add_argument("--roster", type=Path, metavar="CSV", help="who is who: a column `folder`, others as you like")
    parser.add_argument(
        "--workers", type=int, choices=range(1, 33), metavar="N", help="so many at a time (cores, <= 4)"
    )
    add_rules(parser)
    parser.add_argument(
        "--deadline",
        type=deadline_of(EXERCISE_SECONDS),
        metavar="SECONDS",
        help="for a test that names none of its own (20)",
    )
    return parser.parse_args(argv)


if __name__ == "__main__":
    sys.exit(main())
