"""`nox -s new -- ex17_name`: the skeletons of a new exercise, and what it still lacks.

The skeletons are a small exercise that works: its content is replaced piece by piece. Of an exercise that is there
nothing is written; the command says what is missing. It belongs to the whole project, not to a class's copy.

Exit code 0: written, or nothing is missing; 1: something is missing; 2: the command is at fault.
"""

import argparse
import sys

from grader.commands.command_line import outcome
from grader.results.errors import UsageError
from grader.results.paths import ROOT
from grader.results.syllabus import Exercise
from grader.results.text import short_name
from tests.project import exercise_parts, verified


def main(argv: list[str] | None = None) -> int:
    return outcome(lambda: _main(_parse(argv)))


def _main(options: argparse.Namespace) -> int:
    word, exercises = options.name, exercise_parts.exercises()
    exercise = next((e for e in exercises if word in (e.short, e.name)), None)
    if exercise:
        return 1 if _print_missing(exercise) else 0
    _check_name(word, exercises)
    for path in _write(word):
        print(f"wrote {path}")
    print()
    _print_missing(exercise_parts.exercises()[-1])
    return 0


def _parse(argv: list[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog="nox -s new --",
        allow_abbrev=False,
        description="Writes the skeletons of a new exercise; of one that is there, prints what is still missing.",
    )
    parser.add_argument("name", metavar="NAME", help="ex17_name: a free number and a name for the three mirrored files")
    return parser.parse_args(argv)


def _check_name(name: str, exercises: list[Exercise]) -> None:
    """raises: UsageError for a name that no new exercise can have"""
    if not exercise_parts.NAME.fullmatch(name):
        raise UsageError(f"{name!r} is no name for an exercise: use one like ex17_name, in small letters")
    if taken := next((e.name for e in exercises if e.short == short_name(name)), None):
        raise UsageError(f"the number of {name} is taken by {taken}: use a free one")
    for place in (exercise_parts.STUB, exercise_parts.SOLUTION, exercise_parts.SUITE):
        if (exercise_parts.ROOT / (path := place.format(name))).exists():
            raise UsageError(f"{path} exists, but the syllabus has no entry for it: add the entry or remove the file")
    for place in (exercise_parts.WRONG, exercise_parts.RIGHT):
        if (exercise_parts.ROOT / (path := place.format(name))).exists():
            raise UsageError(f"the folder {path} exists, but the syllabus has no entry for it: remove the folder")


def _write(name: str) -> list[str]:
    """Writes the skeletons, and the entry last: without it nothing else reads them. Returns the paths."""
    texts = exercise_parts.skeletons(name)
    for path, text in texts.items():
        file = exercise_parts.ROOT / path
        file.parent.mkdir(exist_ok=True)
        file.write_text(text, encoding="utf-8")
    with (exercise_parts.ROOT / exercise_parts.SYLLABUS).open("a", encoding="utf-8") as file:
        file.write(exercise_parts.entry(name))
    return [*texts, f"{exercise_parts.SYLLABUS} (an entry at its end)"]


def _print_missing(exercise: Exercise) -> list[str]:
    """Says what is missing, and what shows whether the rest is right; returns the former."""
    short, missing = exercise.short, exercise_parts.missing(exercise)
    if exercise.name in verified.unverified():
        file = verified.FILE.relative_to(ROOT)
        missing.append(f"{file}: its answers are not noted as tried: nox -s tests -- --whole --record -k {short}")
    if not missing:
        print(f"{exercise.name}: nothing is missing")
        return []
    print(f"{exercise.name}: {len(missing)} {'things are' if len(missing) > 1 else 'thing is'} missing")
    print(*(f"  {line}" for line in missing), sep="\n")
    commands = {
        f"nox -s check -- {short} --submission solutions": "the solution passes its suite",
        f"nox -s tests -- --whole -k {short}": "the gate: wrong answers are caught, right ones pass",
        f"nox -s doors -- {short}": "the same with and without the sandbox",
        f"nox -s mutate -- {short}": "the suite notices every small change of the solution",
        f"nox -s new -- {short}": "what is still missing",
    }
    print("\nTo run next:")
    for command, why in commands.items():
        print(f"  {command:<48}  {why}")
    return missing


if __name__ == "__main__":
    sys.exit(main())
