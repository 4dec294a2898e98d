"""What tests of classes hand in, and what they read."""

import csv
import shutil

from tests.project import graded

SOLUTIONS = graded.ROOT / "solutions"


def rows(file):
    with file.open(newline="") as opened:
        return list(csv.DictReader(opened))


def fill(folder, **instead):
    """A submission: the solutions, with other files in the place of some."""
    folder.mkdir(parents=True)
    for file in SOLUTIONS.glob("ex*.py"):
        shutil.copyfile(instead.get(file.stem[:4], file), folder / file.name)
    return folder


def passed(result):
    for function in result.functions:
        function.outcome, function.kind, function.earned = "passed", "", function.points
    return result
