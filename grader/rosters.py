"""Reads rosters: CSV files as spreadsheets of all countries write them."""

import csv
import io
import re
from pathlib import Path

from grader.command import UsageError

DELIMITERS = (",", ";", "\t")
REMEDY = "save it as CSV UTF-8"


def read(file: Path) -> dict[str, dict[str, str]]:
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
    told = re.match(r"\s*\"?sep=(.)\"?[ \t]*(?:\r?\n|\r|$)", text)  # as Excel understands it
    if told:
        return _cells(text[told.end() :], told[1])
    heads = {delimiter: next(iter(_cells(text, delimiter)), []) for delimiter in DELIMITERS}
    by_name = [d for d in DELIMITERS if len(heads[d]) > 1 and "folder" in (cell.lower() for cell in heads[d])]
    best = next(iter(by_name), max(DELIMITERS, key=lambda d: len(heads[d])))
    return _cells(text, best)


def _cells(text: str, delimiter: str) -> list[list[str]]:
    lines = csv.reader(io.StringIO(text, newline=""), delimiter=delimiter)
    return [cells for line in lines if any(cells := [cell.strip() for cell in line])]
