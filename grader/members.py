"""Who is in a class, by what was handed in and what a roster says."""

import csv
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

from grader import intake, similarity
from grader.command import UsageError
from grader.grade import file_names
from grader.results import RunResult
from grader.syllabus import ROOT


@dataclass
class Member:
    """A student of the class: who it is, what was handed in, and what came of it."""

    name: str
    submission: Path | None
    known: dict[str, str] = field(default_factory=dict)  # from the roster
    contents: str = ""
    refused: str = ""  # why the submission cannot be taken
    pieces: similarity.Pieces = frozenset()
    result: RunResult | None = None
    note: str = ""


def found(submissions: Path, roster: Path | None) -> tuple[list[Member], list[str]]:
    """The members of a class, by what lies in a folder and what a roster says; and what was passed over.

    raises: UsageError
    """
    entries = sorted(entry for entry in submissions.iterdir() if not entry.name.startswith("."))
    handed_in = [e for e in entries if not e.is_symlink() and (e.is_dir() or e.suffix.lower() == ".zip")]
    passed_over = [e.name for e in entries if e not in handed_in]
    stems = Counter(_stem(entry) for entry in handed_in)
    by_name = {entry.name if stems[_stem(entry)] > 1 else _stem(entry): entry for entry in handed_in}
    known = _roster(roster) if roster else {}
    members = [Member(name, path, known.get(name, {})) for name, path in by_name.items()]
    for member in members:
        if roster and member.name not in known:
            member.note = "not in the roster"
    missing = [Member(name, None, row, note="nothing handed in") for name, row in known.items() if name not in by_name]
    return members + missing, passed_over


def take_in(members: Sequence[Member], scratch: Path) -> None:
    """Looks at what was handed in: whether it can be taken, its hash, and what its code looks like."""
    stubs = sorted((ROOT / "exercises").glob("ex*.py"))
    for number, member in enumerate(members):
        folder = scratch / str(number)
        try:
            taken = intake.take(member.submission, folder, file_names())
            member.contents = taken.contents
            member.pieces = similarity.pieces([folder / name for name in taken.names], stubs)
        except Exception as error:  # whatever is in there, it is this student's affair
            member.refused = f"cannot be taken: {error}"
            member.contents = "none"


def _stem(entry: Path) -> str:
    return entry.stem if entry.is_file() else entry.name


def _roster(file: Path) -> dict[str, dict[str, str]]:
    """Rows by folder name; the column `folder` has it, or else the first column."""
    try:
        with file.open(encoding="utf-8-sig", newline="") as opened:
            reader = csv.DictReader(opened)
            columns = reader.fieldnames or []
            rows = list(reader)
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        raise UsageError(f"the roster {file} cannot be read: {error}") from None
    key = next((column for column in columns if column.strip().lower() == "folder"), columns[0] if columns else "")
    if not key or not rows:
        raise UsageError(f"the roster {file} has no rows: give a CSV with a column `folder`, and names as you like")
    known: dict[str, dict[str, str]] = {}
    for row in rows:
        name = (row[key] or "").strip()
        if name in known:
            raise UsageError(f"the roster {file} has {name!r} twice")
        if name:
            known[name] = {column: (row[column] or "") for column in columns if column != key}
    return known
