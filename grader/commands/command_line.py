"""What the commands have in common: options, what is wrong with a command line, errors and exit codes."""

import argparse
import contextlib
import math
import os
import re
import signal
import sys
import threading
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from typing import NoReturn

from grader.results import syllabus
from grader.results.errors import UsageError
from grader.results.paths import SOLUTIONS
from grader.results.syllabus import Exercise
from grader.run.suite_process import StartError

CLASS_SEED = 1  # unless another is given
FAULTS = (UsageError, StartError)  # of the command line, or of the installation
RANGE = re.compile(r"(ex\d+\w*)-(ex\w*|\d*)")  # ex01-ex05; also what is nearly one: ex01-5


class Parser(argparse.ArgumentParser):
    """Says in one line what is wrong with a command line."""

    def error(self, message: str) -> NoReturn:
        raise UsageError(f"{message}; `{self.prog} --help` lists the options")


def outcome(command: Callable[[], int]) -> int:
    """The exit code of a command: its own, 2 for a fault, which is said, 130 for Ctrl-C, 1 where nobody reads on."""
    try:
        with _ends_as_with_ctrl_c(signal.SIGTERM, signal.SIGHUP):
            return command()
    except FAULTS as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        return 130
    except BrokenPipeError:  # whoever read this has left, as in `| head`
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 1
    except OSError as error:  # a folder that cannot be written or read, a full disk
        said = f"{error.filename}: {error.strerror}" if error.filename else str(error)
        print(f"error: {said}", file=sys.stderr)
        return 2


@contextlib.contextmanager
def _ends_as_with_ctrl_c(*signals: signal.Signals) -> Iterator[None]:
    """These signals raise KeyboardInterrupt, where nobody wants something else of them (nohup, for instance)."""
    ours = threading.current_thread() is threading.main_thread()
    changed = [s for s in signals if ours and signal.getsignal(s) is signal.SIG_DFL]
    for number in changed:
        signal.signal(number, signal.default_int_handler)
    try:
        yield
    finally:
        for number in changed:
            signal.signal(number, signal.SIG_DFL)


def seed_of(text: str) -> int:
    if not text.isdecimal() or int(text) >= 2**32:
        raise argparse.ArgumentTypeError(f"{text!r} is not a whole number from 0 to 2**32 - 1")
    return int(text)


def deadline_of(most: float) -> Callable[[str], float]:
    """For a deadline on the command line: seconds, from 1 to so many."""

    def read(text: str) -> float:
        try:
            seconds = float(text)
        except ValueError:
            seconds = math.nan
        if not 1 <= seconds <= most:  # nor is nan
            raise argparse.ArgumentTypeError(f"{text!r} is no number of seconds from 1 to {most:g}")
        return seconds

    return read


def named(words: Sequence[str], exercises: Sequence[Exercise]) -> list[Exercise]:
    """The exercises that these words name, each once, in the order of the syllabus; none waits for another.

    words:  names ("ex03", "ex03_error_growth") and ranges ("ex01-ex05", both ends included)
    raises: UsageError
    """
    wanted: set[str] = set()
    for word in words:
        ends = RANGE.fullmatch(word)
        if not ends:
            wanted.add(syllabus.find(word, exercises).name)
            continue
        if not ends[2].startswith("ex"):
            raise UsageError(f"{word} is not a range: name both ends in full, as in ex01-ex05")
        first, last = (exercises.index(syllabus.find(end, exercises)) for end in ends.groups())
        if first > last:
            raise UsageError(f"the range {word} runs backwards: type {ends[2]}-{ends[1]}")
        wanted |= {exercise.name for exercise in exercises[first : last + 1]}
    return [replace(exercise, needs=()) for exercise in exercises if exercise.name in wanted]


def add_rules(parser: argparse.ArgumentParser) -> None:
    """The options that grading one submission and grading a class have in common."""
    parser.add_argument("--track", choices=syllabus.TRACKS, help="only the exercises of one track")
    parser.add_argument("--only", action="append", default=[], metavar="EX", help="only this exercise; may be repeated")
    parser.add_argument("--seed", type=seed_of, default=CLASS_SEED, metavar="N", help="the same for a whole class (1)")
    parser.add_argument("--no-stand-in", action="store_true", help="let exercises wait for those that they build on")
    parser.add_argument("--plain", action="store_true", help="ASCII, no colour, no boxes")


def chosen(options: argparse.Namespace) -> list[Exercise]:
    exercises = [e for e in syllabus.load() if options.track in (None, e.track)]
    only = [syllabus.find(word, exercises).name for word in options.only]
    return [e for e in exercises if not only or e.name in only]


def check_place(options: argparse.Namespace) -> None:
    """raises: UsageError where nothing can be graded"""
    if not SOLUTIONS.is_dir() and not options.no_stand_in:
        raise UsageError("there are no solutions here that could stand in: add --no-stand-in, or use the whole project")
