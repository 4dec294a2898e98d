"""The result model as other programs read it: Gradescope, Classroom 50, JUnit, Markdown, and a text for students.

Gradescope: https://gradescope-autograders.readthedocs.io/en/latest/specs/
Classroom 50: https://github.com/foundation50/classroom50/wiki/Advanced-Autograding
"""

import datetime
import json
import os
import re
import xml.etree.ElementTree as ET
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from grader.results.errors import UsageError
from grader.results.model import ExerciseResult, FunctionResult, RunResult
from grader.results.safe_files import write_whole
from grader.results.text import legible, short_name

LEADERBOARD = {"size ratio": "desc", "speedup": "desc", "drift": "asc"}
OUTPUT = 4_000  # characters of a test's output
IDENTITY = {  # of a Classroom 50 result, by the environment variable of its runner
    "classroom": "CLASSROOM",
    "assignment": "ASSIGNMENT",
    "assignment_type": "ASSIGNMENT_TYPE",
    "owner": "OWNER",
    "submission": "SUBMISSION_TAG",
    "commit": "COMMIT_URL",
    "release": "RELEASE_URL",
    "review": "REVIEW_URL",
}


class MissingIdentity(UsageError):
    """The runner did not say whose result this is; the message names the variables."""


def gradescope(result: RunResult) -> str:
    """results.json: a test for each test function, in points.

    Gradescope fixes the total, so where something could not be judged here the top-level score is that of the rest,
    scaled to the whole.
    """
    record: dict[str, Any] = {
        "output": _summary(result),
        "output_format": "text",
        "visibility": "visible",
        "stdout_visibility": "hidden",
        "execution_time": round(sum(exercise.seconds for exercise in result.exercises)),
        "tests": [
            {
                "name": f"{short_name(exercise.name)} {function.title}",
                "number": f"{e}.{f}",
                "score": function.earned,
                "max_score": function.points,
                "status": "passed" if function.outcome == "passed" else "failed",
                "output": _words(exercise, function),
                "output_format": "text",
                "visibility": "visible",
            }
            for e, exercise in enumerate(result.exercises, 1)
            for f, function in enumerate(exercise.functions, 1)
        ],
        "leaderboard": [
            {"name": name, "value": round(result.measured[name], 4), "order": order}
            for name, order in LEADERBOARD.items()
            if name in result.measured
        ],
        "extra_data": {"seed": result.seed, "suite": result.suite, "sandbox": result.sandbox},
    }
    record["score"] = scaled(result)
    return json.dumps(record, indent=2) + "\n"


def scaled(result: RunResult) -> float:
    """The points of what could be judged, as a share of all points."""
    undecided = sum(function.points for function in result.functions if function.outcome == "undecided")
    judged = result.points - undecided
    return round(result.points * result.earned / judged, 2) if judged else 0.0


def classroom50(result: RunResult, environment: Mapping[str, str] = os.environ) -> str:
    """result.json, classroom50/result/v1. Where something could not be judged here, the maximum is less by its points.

    raises: MissingIdentity
    """
    identity = {field: environment.get(variable, "") for field, variable in IDENTITY.items()}
    identity["owner"] = identity["owner"] or environment.get("USERNAME", "")
    identity["assignment_type"] = identity["assignment_type"] or "individual"
    identity["review"] = identity["review"] or identity["commit"]
    missing = [IDENTITY[field] for field, value in identity.items() if not value]
    if missing:
        raise MissingIdentity(f"Classroom 50's runner sets {', '.join(missing)}: without, a result belongs to nobody")
    if not identity["submission"].startswith("submit/"):
        raise MissingIdentity(f"SUBMISSION_TAG is {identity['submission']!r}: a submission's tag begins with submit/")
    now = datetime.datetime.now(datetime.UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
    maximum = {id(f): 0 if f.outcome == "undecided" else f.points for f in result.functions}
    record = (
        {"schema": "classroom50/result/v1"}
        | identity
        | {
            "datetime": result.submitted if result.commit and result.submitted else now,
            "score": result.earned,
            "max-score": sum(maximum.values()),
            "tests": [
                {
                    "test-name": f"{short_name(exercise.name)} {function.title}",
                    "passed": function.outcome == "passed",
                    "score": function.earned,
                    "max-score": maximum[id(function)],
                }
                for exercise in result.exercises
                for function in exercise.functions
            ],
        }
    )
    return json.dumps(record, indent=2) + "\n"


def junit(result: RunResult) -> str:
    """JUnit XML: an exercise is a suite, a test function a case, undecided is skipped."""
    root = ET.Element("testsuites", name="quantization kata")
    for exercise in result.exercises:
        outcomes = [function.outcome for function in exercise.functions]
        suite = ET.SubElement(
            root,
            "testsuite",
            name=exercise.name,
            tests=str(len(outcomes)),
            failures=str(sum(outcome not in ("passed", "undecided") for outcome in outcomes)),
            skipped=str(outcomes.count("undecided")),
            time=f"{exercise.seconds:.3f}",
        )
        for function in exercise.functions:
            case = ET.SubElement(
                suite, "testcase", classname=exercise.name, name=function.name, time=f"{function.seconds:.3f}"
            )
            if function.outcome != "passed":
                kind = "skipped" if function.outcome == "undecided" else "failure"
                text = legible(_words(exercise, function))
                detail = ET.SubElement(case, kind, message=legible(function.reason))
                detail.text = text
    ET.indent(root)
    return ET.tostring(root, encoding="unicode", xml_declaration=True) + "\n"


def feedback(result: RunResult) -> str:
    """What a student gets to read: every test, and what to do about those that did not pass."""
    lines = [_summary(result), ""]
    for exercise in result.exercises:
        lines.append(f"{short_name(exercise.name)}  {exercise.title}: {exercise.earned} of {exercise.points}")
        for function in exercise.functions:
            lines.append(f"  {function.state}, {function.earned} of {function.points}: {function.title}")
            if function.outcome != "passed":
                lines += [f"      {line}" for line in _words(exercise, function).splitlines()]
        lines.append("")
    return "\n".join(lines)


def markdown(result: RunResult) -> str:
    """The same as Markdown; what came from a student's code stands in fences that it cannot close."""
    lines = [f"### {result.earned} of {result.points} points", "", "| test | state | points |", "|---|---|---|"]
    for exercise in result.exercises:
        for function in exercise.functions:
            name = f"{short_name(exercise.name)} {function.title}"
            lines.append(f"| {name} | {function.state} | {function.earned} of {function.points} |")
    for exercise in result.exercises:
        for function in exercise.functions:
            if function.outcome != "passed":
                words = _words(exercise, function)
                fence = "`" * (3 + max(map(len, re.findall("`+", words)), default=0))
                lines += ["", f"**{short_name(exercise.name)} {function.title}**", "", f"{fence}text", words, fence]
    return "\n".join([*lines, "", f"seed {result.seed}, sandbox: {result.sandbox or 'none'}", ""])


def _summary(result: RunResult) -> str:
    lines = [f"{short_name(e.name)}  {e.state}, {e.earned} of {e.points} points" for e in result.exercises]
    if any(function.outcome == "undecided" for function in result.functions):
        lines.append("What this machine cannot judge does not count: the score is that of the rest, scaled.")
    if result.source:
        lines.append(f"graded: {result.source}")
    return "\n".join([*lines, f"seed {result.seed}, sandbox: {result.sandbox or 'none'}"])


def _words(exercise: ExerciseResult, function: FunctionResult) -> str:
    """Why a function did not pass: its failure, or that of each law that it holds."""
    broken = [case for case in function.laws if case.outcome != "passed"]
    parts = []
    for case in broken or [function]:
        text = case.failure.text() if case.failure else case.state
        parts.append(f"{case.case}\n{text}" if broken else text)
    if exercise.stood_in:
        parts.append(f"(run with the reference's {', '.join(map(short_name, exercise.stood_in))})")
    return "\n".join(parts)[:OUTPUT]


FORMATS: dict[str, tuple[str, Callable[[RunResult], str]]] = {  # by name: the file, and what writes it
    "kata": ("kata.json", RunResult.to_json),
    "gradescope": ("results.json", gradescope),
    "classroom50": ("result.json", classroom50),
    "junit": ("junit.xml", junit),
    "markdown": ("release-body.md", markdown),
}
UNASKED = ("kata", "gradescope", "junit")  # written where nobody says which


def write(result: RunResult, out: Path, formats: Sequence[str]) -> None:
    for name in formats:
        file, view = FORMATS[name]
        write_whole(out / file, view(result))
