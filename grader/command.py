"""What the commands have in common: what is wrong with a command line, and what becomes of errors and exit codes."""

import argparse
import os
import sys
from collections.abc import Callable

from grader.children import StartError
from grader.syllabus import SyllabusError, UnknownExercise


class UsageError(ValueError):
    """The command line asks for something that there is not; the message says what would do."""


FAULTS = (UsageError, UnknownExercise, SyllabusError, StartError)  # of the command line, or of the installation


def outcome(command: Callable[[], int]) -> int:
    """The exit code of a command: its own, 2 for a fault, which is said, 130 for Ctrl-C, 1 where nobody reads on."""
    try:
        return command()
    except FAULTS as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        return 130
    except BrokenPipeError:  # whoever read this has left, as in `| head`
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 1


def seed_of(text: str) -> int:
    if not text.isdecimal() or int(text) >= 2**32:
        raise argparse.ArgumentTypeError(f"{text!r} is not a whole number from 0 to 2**32 - 1")
    return int(text)
