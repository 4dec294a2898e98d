"""Reads exercises/syllabus.toml, the one list of exercises: always the project's own, whatever is being checked."""

import difflib
import re
import tomllib
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from grader.results.errors import UsageError
from grader.results.paths import EXERCISES, TESTS
from grader.results.text import short_name

PATH = EXERCISES / "syllabus.toml"
TRACKS = ("core", "beyond")


class SyllabusError(UsageError):
    """The syllabus does not say what it should; the message names the entry."""


class UnknownExercise(UsageError):
    """There is no such exercise; the message suggests the nearest."""


@dataclass(frozen=True)
class Exercise:
    name: str
    title: str
    track: str
    points: int
    needs: tuple[str, ...]
    hints: tuple[str, ...]  # from a question to nearly the answer
    afterwards: str = ""  # once it passes: what to look at, and what to try next
    arguments: str = ""  # of its demonstration: `python -m exercises.NAME ARGUMENTS`
    timed: bool = False  # its suite measures speed: nothing else may start beside it

    @property
    def short(self) -> str:
        return short_name(self.name)

    @property
    def suite(self) -> Path:
        return TESTS / f"test_{self.name}.py"


def load(path: Path = PATH) -> list[Exercise]:
    """All exercises in their order.

    raises: SyllabusError where the file is missing, is not TOML, or an entry is incomplete or contradictory
    """
    try:
        entries = tomllib.loads(path.read_text(encoding="utf-8"))["exercise"]
    except (OSError, tomllib.TOMLDecodeError, KeyError) as error:
        raise SyllabusError(f"{path} is no syllabus ({error}): run `git checkout -- exercises/syllabus.toml`") from None
    exercises: list[Exercise] = []
    for entry in entries:
        if fault := _fault(entry, [exercise.name for exercise in exercises]):
            raise SyllabusError(f"{path}, {entry.get('name', f'entry {len(exercises) + 1}')}: {fault}")
        exercises.append(Exercise(**entry | {"needs": tuple(entry["needs"]), "hints": tuple(entry["hints"])}))
    return exercises


def find(word: str, exercises: Sequence[Exercise]) -> Exercise:
    """The exercise of that name or prefix: "ex03" or "ex03_error_growth".

    raises: UnknownExercise
    """
    for exercise in exercises:
        if word in (exercise.short, exercise.name):
            return exercise
    known = ", ".join(exercise.short for exercise in exercises)
    nearest = _nearest(word, exercises)
    suggestion = f"did you mean {nearest.short}? " if nearest else ""
    raise UnknownExercise(f"no exercise is called {word!r}: {suggestion}There are {known}")


def _nearest(word: str, exercises: Sequence[Exercise]) -> Exercise | None:
    number = re.fullmatch(r"(?:ex(?:ercise)?)?[ _-]?0*(\d+)", word.lower())
    if number:
        return next((e for e in exercises if e.short == f"ex{int(number[1]):02}"), None)
    spellings = {spelling: e for e in exercises for spelling in (e.short, e.name, e.name.partition("_")[2])}
    close = difflib.get_close_matches(Path(word).stem.lower(), spellings, n=1)
    return spellings[close[0]] if close else None


def _fault(entry: dict, earlier: list[str]) -> str:
    """What is wrong with one entry; empty when nothing is."""
    kinds = {"name": str, "title": str, "track": str, "points": int, "needs": list, "hints": list}
    optional = {"afterwards": str, "arguments": str, "timed": bool}
    kinds |= {key: kind for key, kind in optional.items() if key in entry}
    if unknown := sorted(entry.keys() - kinds.keys()):
        return f"unknown key {unknown[0]!r}: use {', '.join(kinds | optional)}"
    for key, kind in kinds.items():
        if type(entry.get(key)) is not kind:
            return f"{key} is {entry.get(key)!r}: give a {kind.__name__}"
    if not re.fullmatch(r"ex\d\d_[a-z0-9_]+", entry["name"]):
        return "the name is not like ex03_error_growth"
    if short_name(entry["name"]) in map(short_name, earlier):
        return "the number is already taken"
    if entry["track"] not in TRACKS:
        return f"track is {entry['track']!r}: use {' or '.join(TRACKS)}"
    if entry["points"] < 1:
        return f"points is {entry['points']}: use 1 or more"
    if late := [need for need in entry["needs"] if need not in earlier]:
        return f"needs {late[0]!r}, which is not an exercise before it"
    if len(entry["hints"]) < 3 or not all(isinstance(hint, str) and hint.strip() for hint in entry["hints"]):
        return "give at least three hints, none of them empty"
    return ""
