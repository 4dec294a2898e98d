"""The two tables of a class: a row a student, a row a test."""

import csv
import io
import re
from collections import Counter
from collections.abc import Mapping, Sequence

from grader.classroom.likeness import Likeness
from grader.classroom.roster import Member
from grader.results import exports
from grader.results.model import FunctionResult
from grader.results.syllabus import Exercise
from grader.results.text import legible, short_name

HEADLINE = ("size ratio", "speedup", "drift")
OURS = {  # columns of the gradebook that a roster may have, too
    *("student", "points", "of", "scaled", "status", "undecided", "reference stood in for", *HEADLINE, "most like"),
    *("share alike", "share like solutions", "submitted", "commit", "seed", "suite", "sandbox", "note"),
}
FORMULA = ("=", "+", "-", "@", "\t", "\r", "\n", "\uff1d", "\uff0b", "\uff0d", "\uff20")  # begins one somewhere
FEW = 3  # misconceptions named for one test


def students(
    members: Sequence[Member], exercises: Sequence[Exercise], likeness: Mapping[str, tuple[Likeness | None, float]]
) -> str:
    """A row a student, those of the roster who handed nothing in included."""
    extra = list(dict.fromkeys(column for member in members for column in member.known))
    maximum = sum(e.points for e in exercises)
    rows = []
    for member in members:
        result = member.result
        of = {e.name: e for e in result.exercises} if result else {}
        like, like_solutions = likeness.get(member.name, (None, 0.0))
        undecided = [
            f"{short_name(e.name)} {f.title.removesuffix('.')}"
            for e in of.values()
            for f in e.functions
            if _undecided(f)
        ]
        row = {"student": member.name} | {_of_roster(column): member.known.get(column, "") for column in extra}
        row |= {"points": result.earned if result else 0, "of": maximum}
        row |= {"scaled": exports.scaled(result) if result else 0}
        row |= {e.short: of[e.name].earned if e.name in of else 0 for e in exercises}
        row |= {"status": status_of(member), "undecided": "; ".join(undecided)}
        stood_in = sorted({short_name(n) for e in of.values() for n in e.stood_in})
        row |= {"reference stood in for": " ".join(stood_in)}
        row |= {
            name: round(result.measured[name], 4) if result and name in result.measured else "" for name in HEADLINE
        }
        row |= {"most like": like.other if like else "", "share alike": round(like.share, 2) if like else ""}
        row |= {"share like solutions": round(like_solutions, 2)}
        row |= {"submitted": result.submitted if result else "", "commit": result.commit if result else ""}
        row |= {"seed": result.seed if result else "", "suite": result.suite[:12] if result else ""}
        row |= {"sandbox": result.sandbox if result else "", "note": member.note}
        rows.append(row)
    return _csv(rows)


def items(members: Sequence[Member], exercises: Sequence[Exercise]) -> str:
    """A row a test: how many passed it, and the known mistakes that failed ones look like."""
    graded = [m.result for m in members if m.result and not m.refused and not m.result.broken]
    rows = []
    for exercise in exercises:
        suites = [e for result in graded for e in result.exercises if e.name == exercise.name]
        for name in dict.fromkeys(f.name for suite in suites for f in suite.functions):
            tries = [f for suite in suites for f in suite.functions if f.name == name]
            states = Counter(f.state for f in tries)
            judged = len(tries) - states["undecided"]
            mistakes = Counter(mistake for f in tries for mistake in f.misconceptions)
            common = [f"{mistake.replace('_', ' ')} ({n})" for mistake, n in mistakes.most_common(FEW)]
            rows.append(
                {"exercise": exercise.short, "test": tries[0].title, "points": tries[0].points, "students": len(tries)}
                | {"passed": states["passed"], "share passed": round(states["passed"] / judged, 3) if judged else ""}
                | {"not started": states["not started"], "undecided": states["undecided"]}
                | {"commonest mistakes": "; ".join(common)}
            )
    return _csv(rows)


def _of_roster(column: str) -> str:
    """A column of the roster that is not called like one of ours."""
    return f"roster {column}" if column in OURS or re.fullmatch(r"ex\d\d", column) else column


def status_of(member: Member) -> str:
    if member.refused:
        return member.refused
    if member.submission is None:
        return member.note
    if member.result and member.result.broken:
        return f"not graded: {member.result.broken}"
    return "graded" if member.result else "not graded yet"


def _undecided(function: FunctionResult) -> bool:
    return function.outcome == "undecided"


def _csv(rows: list[dict]) -> str:
    text = io.StringIO()
    if rows:
        writer = csv.writer(text, lineterminator="\n")
        writer.writerows([map(_harmless, rows[0]), *(map(_harmless, row.values()) for row in rows)])
    return text.getvalue()


def _harmless(value: object) -> object:
    """A cell that no spreadsheet takes for a formula (OWASP: CSV injection)."""
    value = legible(value) if isinstance(value, str) else value
    return f"'{value}" if isinstance(value, str) and value.startswith(FORMULA) else value
