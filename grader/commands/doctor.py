"""`nox -s doctor`: is this machine fit for the kata? A line for each thing that the kata needs, with the remedy.

Exit code 0: everything needed is here; 1: something is missing; 130: stopped with Ctrl-C.
"""

import argparse
import sys

from rich.table import Table

from grader.commands.command_line import Parser, outcome
from grader.run.machine import Finding, findings
from grader.sandbox import policy
from grader.screen.board import LOOKS, Board, is_plain

SHOWN_AS = {"fit": "passed", "limited": "undecided", "unfit": "failed"}  # on the board: its mark and its colour
NAME = 13  # columns of the longest name


def main(argv: list[str] | None = None) -> int:
    return outcome(lambda: _main(_parse(argv)))


def _main(options: argparse.Namespace) -> int:
    board, missing = Board(is_plain(options.plain)), []
    board.print("", board.text(" Quantization kata · this machine", "bold"), "")
    for finding in findings():
        _show(board, finding)
        missing += [finding.name] * (finding.state == "unfit")
    _show(board, sandbox(policy.best()))
    if missing:
        board.print("", board.text(f" Not ready yet: {', '.join(missing)}. What to do stands above.", "bold red"))
        return 1
    board.print("", board.text(" This machine has everything that the kata needs.", "bold green"))
    return 0


def sandbox(walls: policy.Walls) -> Finding:
    if walls.tier != policy.PRACTICE.tier:
        return Finding("sandbox", "fit", walls.tier)
    remedy = "only for grading other people's code: use Linux 6.2 or later, or a container as root (GRADING.md)"
    return Finding("sandbox", "limited", walls.tier, remedy)


def _show(board: Board, finding: Finding) -> None:
    mark, colour = LOOKS[SHOWN_AS[finding.state]]
    table = Table.grid(padding=(0, 2, 0, 0))
    for width in (2, NAME, None):
        table.add_column(width=width)
    table.add_row(board.text(f" {mark}", colour), board.text(finding.name), board.text(finding.text))
    if finding.remedy:
        table.add_row("", "", board.text(f"→ {finding.remedy}", colour))
    board.print(table)


def _parse(argv: list[str] | None) -> argparse.Namespace:
    parser = Parser(prog="nox -s doctor --", description="Says whether this machine is fit for the kata.")
    parser.add_argument("--plain", action="store_true", help="ASCII, no colour, no boxes (also: set NO_COLOR)")
    return parser.parse_args(argv)


if __name__ == "__main__":
    sys.exit(main())
