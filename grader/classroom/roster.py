"""Who is in a class, by what was handed in and what a roster says."""

import csv
import hashlib
import io
import itertools
import re
import unicodedata
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from grader.classroom import intake, likeness
from grader.classroom.grade_submission import file_names
from grader.results.errors import UsageError
from grader.results.model import RunResult
from grader.results.paths import ROOT

DELIMITERS = (",", ";", "\t")
REMEDY = "save it as CSV UTF-8"
UNKNOWN = "not in the roster"
MISSING = "nothing handed in"
ARCHIVES = (".tar", ".tgz", ".gz", ".bz2", ".xz", ".zst", ".7z", ".rar")
LOOKED_AT = 1000  # entries of a submission, for folders of other students


@dataclass
class Member:
    """A student of the class: who it is, what was handed in, and what came of it."""

    name: str
    submission: Path | None
    known: dict[str, str] = field(default_factory=dict)  # from the roster
    contents: str = ""
    refused: str = ""  # why the submission cannot be taken
    pieces: likeness.Pieces = frozenset()
    result: RunResult | None = None
    note: str = ""


def found(submissions: Path, roster: Path | None) -> tuple[list[Member], list[str]]:
    """The members of a class, by what lies in a folder and what a roster says; and what was passed over.

    raises: UsageError
    """
    entries = sorted(
        e for e in submissions.iterdir() if not e.name.startswith(".") and e.name not in intake.PASSED_OVER
    )
    handed_in = [e for e in entries if not e.is_symlink() and (e.is_dir() or e.suffix.lower() == ".zip")]
    passed_over = [e for e in entries if e not in handed_in]
    by_name = _named(handed_in)
    rows = read_roster(roster) if roster else {}
    row_of = _matched(by_name, rows)
    members = [Member(name, path, rows[row_of[name]] if name in row_of else {}) for name, path in by_name.items()]
    for member in members:
        if roster and member.name not in row_of:
            member.note = UNKNOWN
    remedies = {_meaning(_without_ending(entry)): remedy(entry) for entry in passed_over}
    without = [name for name in rows if name not in row_of.values()]
    missing = [Member(name, None, rows[name], note=remedies.get(_meaning(name), MISSING)) for name in without]
    return members + missing, [entry.name for entry in passed_over]


def remedy(entry: Path) -> str:
    """What to do about something that was passed over."""
    if entry.is_symlink():
        return f"{entry.name} is there, and is a link: put the folder itself there"
    if entry.suffix.lower() in ARCHIVES:
        return f"{entry.name} is there: unpack it"
    if entry.suffix.lower() == ".py":
        return f"{entry.name} is there: put it into a folder of the student's"
    return f"{entry.name} is neither a folder nor a zip"


def doubts(members: Sequence[Member]) -> list[str]:
    """What looks like a mistake of whoever collected the submissions, in a line each."""
    handed_in, missing = [m for m in members if m.submission], [m for m in members if not m.submission]
    warnings = []
    if missing and handed_in and all(m.note == UNKNOWN for m in handed_in):
        names = f"it has {missing[0].name!r}, for instance, and there is {handed_in[0].name!r}"
        warnings.append(f"nobody in the roster has handed in anything: {names}")
    for member in handed_in:
        inside = _students_within(member.submission)
        if len(inside) > 1:
            folders = ", ".join(inside[:3]) + ", ..." * (len(inside) > 3)
            warnings.append(f"{member.name} has several folders with exercises ({folders}): is it one level too deep?")
    return warnings


def take_in(members: Sequence[Member], scratch: Path) -> None:
    """Looks at what was handed in: whether it can be taken, its hash, and what its code looks like."""
    stubs = sorted((ROOT / "exercises").glob("ex*.py"))
    for number, member in enumerate(members):
        folder = scratch / str(number)
        try:
            taken = intake.take(member.submission, folder, file_names())
            member.contents = taken.contents
            member.pieces, too_long = likeness.compared([folder / name for name in taken.names], stubs)
        except Exception as error:  # whatever is in there, it is this student's affair
            member.refused = f"cannot be taken: {error}"
            member.contents = f"none: {hashlib.sha256(member.refused.encode(errors='replace')).hexdigest()}"
        else:
            if too_long:
                notes = [member.note] * bool(member.note) + [f"too long to be compared: {', '.join(too_long)}"]
                member.note = "; ".join(notes)


def _named(handed_in: Iterable[Path]) -> dict[str, Path]:
    """Each under a name of its own: without its `.zip`, where no other could be called like that."""
    names = {entry: (_alike(entry.stem if entry.is_file() else entry.name), _alike(entry.name)) for entry in handed_in}
    taken = Counter(name for both in names.values() for name in set(both))
    return {e.stem if e.is_file() and taken[short] == 1 else e.name: e for e, (short, _) in names.items()}


def _matched(names: Iterable[str], rows: Iterable[str]) -> dict[str, str]:
    """The row of the roster that is a submission's: of the same name, or the only one whose name means the same."""
    same = set(names) & set(rows)
    other_names, other_rows = (_by_meaning(n for n in group if n not in same) for group in (names, rows))
    return {name: name for name in same} | {
        other_names[m]: other_rows[m] for m in other_names.keys() & other_rows.keys()
    }


def _by_meaning(names: Iterable[str]) -> dict[str, str]:
    names = list(names)
    count = Counter(map(_meaning, names))
    return {_meaning(name): name for name in names if count[_meaning(name)] == 1}


def _meaning(name: str) -> str:
    """What a person means by the name of a folder or a zip."""
    return _alike(name.strip().rstrip("/\\")).removesuffix(".zip")


def _alike(name: str) -> str:
    return unicodedata.normalize("NFC", unicodedata.normalize("NFC", name).casefold())


def _without_ending(entry: Path) -> str:
    name = entry if entry.is_dir() else entry.with_suffix("")
    while name.suffix.lower() in ARCHIVES:
        name = name.with_suffix("")
    return name.name


def _students_within(submission: Path) -> list[str]:
    """Folders side by side in a submission that hold exercises, each: more than one student has."""
    names = file_names()
    try:
        inside = sorted(entry for entry in itertools.islice(submission.iterdir(), LOOKED_AT) if entry.is_dir())
        return [
            folder.name
            for folder in inside
            if folder.name not in intake.PASSED_OVER | intake.UNWANTED and not folder.is_symlink()
            if any((place / name).is_file() for place in (folder, folder / "exercises") for name in names)
        ]
    except OSError:  # a zip, or a folder that cannot be read
        return []


# ---- the file, as spreadsheets of all countries write it ---------------------------------------------------------


def read_roster(file: Path) -> dict[str, dict[str, str]]:
    """Rows by the name of the submission, which is in the column `folder`, or else in the first one.

    raises: UsageError
    """
    try:
        lines = _lines(_text(file))
    except (OSError, csv.Error) as error:
        raise UsageError(f"the roster {file} cannot be read ({error}): {REMEDY}") from None
    columns, rows = (lines[0], lines[1:]) if lines else ([], [])
    key = next((k for k, column in enumerate(columns) if column.lower() == "folder"), 0)
    known: dict[str, dict[str, str]] = {}
    for row in rows:
        cells = dict(zip(columns, row + [""] * len(columns), strict=False))
        name = row[key] if key < len(row) else ""
        if name in known:
            raise UsageError(f"the roster {file} has {name!r} twice")
        if name:
            known[name] = {column: cells[column] for k, column in enumerate(columns) if column and k != key}
    if not known:
        raise UsageError(f"the roster {file} has no rows: give a CSV with a column `folder`, and names as you like")
    return known


def _text(file: Path) -> str:
    """raises: OSError, UsageError"""
    data = file.read_bytes()
    wide = data.startswith((b"\xff\xfe", b"\xfe\xff"))  # Excel's "Unicode text"
    try:
        text = data.decode("utf-16" if wide else "utf-8-sig")
    except UnicodeDecodeError:
        text = "\0"
    if "\0" in text:
        raise UsageError(f"the roster {file} is no text in UTF-8: {REMEDY}")
    return text


def _lines(text: str) -> list[list[str]]:
    """The cells of all lines that are not blank, the header's first."""
    separator = re.match(r"\s*\"?sep=(.)\"?[ \t]*(?:\r?\n|\r|$)", text)  # as Excel understands it
    if separator:
        return _cells(text[separator.end() :], separator[1])
    heads = {delimiter: next(iter(_cells(text, delimiter)), []) for delimiter in DELIMITERS}
    by_name = [d for d in DELIMITERS if len(heads[d]) > 1 and "folder" in (cell.lower() for cell in heads[d])]
    best = next(iter(by_name), max(DELIMITERS, key=lambda d: len(heads[d])))
    return _cells(text, best)


def _cells(text: str, delimiter: str) -> list[list[str]]:
    lines = csv.reader(io.StringIO(text, newline=""), delimiter=delimiter)
    return [cells for line in lines if any(cells := [cell.strip() for cell in line])]
