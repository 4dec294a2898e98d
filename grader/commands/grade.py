"""`nox -s grade -- SUBMISSION --out DIR`: grades one submission of untrusted code, in a sandbox.

DIR gets the result in the forms that platforms read: first with no points at all, and once everything is judged, in one
step, with those that were earned.

Exit code 0: graded, whatever came of it; 2: the command or the installation is at fault; 130: stopped with Ctrl-C.
"""

import argparse
import sys
from pathlib import Path

from grader.classroom.grade_submission import grade, nothing
from grader.commands.command_line import add_rules, check_place, chosen, outcome
from grader.results.errors import UsageError
from grader.results.exports import FORMATS, UNASKED, write
from grader.results.safe_files import sweep
from grader.run.runner import Interrupted
from grader.sandbox import policy
from grader.screen.board import Board, is_plain
from grader.screen.progress import Live


def main(argv: list[str] | None = None) -> int:
    return outcome(lambda: _main(_parse(argv)))


def _main(options: argparse.Namespace) -> int:
    exercises = chosen(options)
    board = Board(is_plain(options.plain))
    check_place(options)
    if not options.submission.exists():
        raise UsageError(f"the submission {options.submission} does not exist: name a folder, a zip or a git work tree")
    if options.out.exists() and not options.out.is_dir():
        raise UsageError(f"{options.out} is a file: --out needs a folder")
    options.out.mkdir(parents=True, exist_ok=True)
    write(nothing(options.submission, exercises, options.seed, "grading did not end", ""), options.out, options.formats)
    sweep("kata-grade-")
    built = policy.best()
    board.print(f"sandbox: {built.tier}")
    try:
        with Live(board) as progress:
            result = grade(options.submission, exercises, options.seed, progress, built, not options.no_stand_in)
    except Interrupted:
        print("stopped: what lies in --out has no points", file=sys.stderr)
        return 130
    write(result, options.out, options.formats)
    board.show_graded(result, exercises)
    return 2 if result.broken else 0


def _parse(argv: list[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="nox -s grade --", description="Grades a submission in a sandbox.")
    parser.add_argument("submission", type=Path, metavar="SUBMISSION", help="a folder, a zip, or a git work tree")
    parser.add_argument("--out", type=Path, required=True, metavar="DIR", help="for the result files")
    add_rules(parser)
    parser.add_argument(
        "--format", dest="formats", action="append", choices=FORMATS, help=f"only this ({', '.join(UNASKED)})"
    )
    options = parser.parse_args(argv)
    options.formats = options.formats or list(UNASKED)
    return options


if __name__ == "__main__":
    sys.exit(main())
