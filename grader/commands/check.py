"""The learner's command: `nox -s check`. Runs the graded suites over a submission and shows the board.

Exit code 0: everything asked for passed or was undecided; 1: not yet; 2: the command or the installation is at fault;
130: stopped with Ctrl-C.
"""

import argparse
import os
import random
import sys
from pathlib import Path

from grader.commands.command_line import Parser, named, outcome, seed_of
from grader.results import passed_before, syllabus
from grader.results.errors import UsageError
from grader.results.model import FINISHED
from grader.results.paths import EXERCISES
from grader.results.safe_files import write_whole
from grader.results.syllabus import Exercise
from grader.run.runner import Interrupted, run
from grader.screen.board import Board, is_plain
from grader.screen.progress import Live


def main(argv: list[str] | None = None) -> int:
    return outcome(lambda: _main(_parse(argv)))


def _main(options: argparse.Namespace) -> int:
    exercises, board = syllabus.load(), Board(is_plain(options.plain))
    if options.hint:
        from grader.results import hints

        board.print(hints.next_hint(syllabus.find(options.hint, exercises)))
        return 0
    chosen = _chosen(options, exercises)
    _check_folders(options)
    folder, shown = options.submission.resolve(), str(options.submission)
    try:
        with Live(board) as progress:
            result = run(chosen, folder, shown, options.seed, progress, quick_first=not options.all)
    except Interrupted as stop:
        if stop.result.exercises:
            board.show_all(stop.result, chosen)
        print("stopped: what was finished is above" if stop.result.exercises else "stopped", file=sys.stderr)
        return 130
    if folder == EXERCISES:
        passed_before.note(result, folder)
    if options.json:
        write_whole(options.json, result.to_json())
    if options.exercises and len(chosen) == 1:
        board.show_one(result, *chosen, options.all)
    else:
        board.show_all(result, chosen, options.all)
    if result.broken:
        return 2
    required = [e for e in result.exercises if options.exercises or options.track or e.track == "core"]
    return 0 if all(exercise.state in FINISHED for exercise in required) else 1


def _parse(argv: list[str] | None) -> argparse.Namespace:
    parser = Parser(prog="nox -s check --", description="Checks your exercises.", allow_abbrev=False)
    parser.add_argument(
        "exercises",
        nargs="*",
        metavar="EX",
        help="one exercise with all its tests (ex03), or the board over several (ex01 ex05) or a range (ex01-ex05)",
    )
    parser.add_argument("--hint", metavar="EX", help="the next hint of an exercise; runs nothing")
    parser.add_argument("--track", choices=syllabus.TRACKS, help="only the exercises of one track")
    parser.add_argument(
        "--submission", type=Path, default=Path("exercises"), metavar="DIR", help="check another folder"
    )
    parser.add_argument("--json", type=Path, metavar="FILE", help="write the result there as well")
    parser.add_argument(
        "--seed", type=seed_of, default=random.SystemRandom().randrange(2**32), metavar="N", help="repeat a run"
    )
    parser.add_argument(
        "--all", action="store_true", help="every failure in full, and slow tests even while a quick one fails"
    )
    parser.add_argument("--plain", action="store_true", help="ASCII, no colour, no boxes (also: set NO_COLOR)")
    options = parser.parse_intermixed_args(argv)  # names may stand before, between and after options
    if options.exercises and (options.hint or options.track):
        other = "--hint" if options.hint else "--track"
        raise UsageError(f"{' '.join(options.exercises)} and {other} cannot be combined: leave one of them out")
    return options


def _chosen(options: argparse.Namespace, exercises: list[Exercise]) -> list[Exercise]:
    if options.exercises:
        return named(options.exercises, exercises)
    chosen = [exercise for exercise in exercises if options.track in (None, exercise.track)]
    if not chosen:
        raise UsageError(f"there are no exercises on the track {options.track!r}")
    return chosen


def _check_folders(options: argparse.Namespace) -> None:
    """What would fail only at the end fails now."""
    if not options.submission.is_dir():
        there = "is a file" if options.submission.exists() else "does not exist"
        raise UsageError(
            f"the submission {options.submission} {there}: name a folder with ex01_round_trip.py and so on"
        )
    if options.json and not (options.json.parent.is_dir() and os.access(options.json.parent, os.W_OK)):
        raise UsageError(f"cannot write {options.json}: create the folder {options.json.parent} first")
    if options.json and options.json.is_dir():
        raise UsageError(f"cannot write {options.json}: it is a folder; name a file")


if __name__ == "__main__":
    sys.exit(main())
