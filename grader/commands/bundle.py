"""`nox -s bundle -- KIND OUT`: what to hand out.

students:    the folder that a class works in. It has everything but solutions and the project's own tests; the wrong
             answers that diagnoses are made of travel as one zip, because open they would read as near-solutions
gradescope:  the zip that Gradescope builds an autograder from
classroom50: the folder CLASSROOM/autograders/ASSIGNMENT of a Classroom 50 organization
"""

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path

from grader.classroom.bundle import NEXT, BundleError, classroom50, gradescope, students
from grader.commands.command_line import FAULTS, add_rules, chosen
from grader.results.errors import UsageError


def main(argv: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="nox -s bundle --", description="Writes what to hand to a class or platform.")
    parser.add_argument("kind", choices=NEXT, help="for a class (without solutions), or for a grading platform")
    parser.add_argument("out", type=Path, metavar="OUT", help="a new folder; for gradescope also a new .zip")
    parser.epilog = "For the platforms, options of `nox -s grade`: --only, --track, --seed, --no-stand-in."
    options, passed_on = parser.parse_known_args(argv)
    out = options.out
    try:
        if options.kind == "students":
            if passed_on:
                raise UsageError(f"{passed_on[0]} is nothing that a class's copy could have: leave it out")
            students(out)
        else:
            rules = _rules(passed_on)
            exercises = chosen(rules)
            if options.kind == "gradescope":
                out = gradescope(out, exercises, rules.seed, passed_on)
            else:
                classroom50(out, exercises, rules.seed, passed_on)
    except (BundleError, *FAULTS, OSError) as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    print(f"{out}: {NEXT[options.kind]}")
    return 0


def _rules(options: Sequence[str]) -> argparse.Namespace:
    """The options of nox -s grade that a platform's script passes on."""
    parser = argparse.ArgumentParser(prog="nox -s bundle -- KIND OUT", add_help=False)
    add_rules(parser)
    return parser.parse_args(options)


if __name__ == "__main__":
    sys.exit(main())
