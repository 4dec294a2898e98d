"""Which exercises were tried with all of their answers since they were last changed: tests/project/verified.toml.

A whole run that passed writes the hash of an exercise's suite, helpers, model, solution and answers there
(`nox -s tests -- --whole --record`). `--unverified`, which CI uses, tries all answers of those whose hash differs.
"""

import hashlib
import re
import tomllib
from pathlib import Path

from grader.results import syllabus
from grader.results.paths import ROOT, SOLUTIONS, TESTS

LLM = ROOT / "llm"
COMMANDS = ("generate.py", "train.py")  # of llm/, which no suite uses
FROM_TESTS = re.compile(r"^from tests import (.+)$", re.MULTILINE)
FROM_MODULE = re.compile(r"^from tests\.(\w+) import ", re.MULTILINE)
FILE = TESTS / "project" / "verified.toml"
HEADER = (
    "# Written by `nox -s tests -- --whole --record`: the hash of each exercise's suite, helpers, model, solution\n"
    "# and answers when all of its answers were last tried, and all was well.\n\n"
)


def parts(exercise: str) -> list[Path]:
    """The files that decide what comes of an exercise's answers."""
    helpers = _imported(TESTS / f"test_{exercise}.py")
    helpers += [file for file in LLM.glob("*.py") if file.name not in COMMANDS]
    folders = (TESTS / "misconceptions" / exercise, TESTS / "project" / "right_answers" / exercise)
    answers = [file for folder in folders for file in folder.glob("*.py")]
    return sorted([TESTS / f"test_{exercise}.py", SOLUTIONS / f"{exercise}.py", *helpers, *answers])


def _imported(suite: Path) -> list[Path]:
    """The helpers in tests/ that a suite imports, and those that they import."""
    found: list[Path] = []
    left = [suite]
    while left:
        text = left.pop().read_text(encoding="utf-8")
        names = [name for line in FROM_TESTS.findall(text) for name in re.findall(r"\w+", line)]
        names += FROM_MODULE.findall(text)
        files = [TESTS / f"{name}.py" for name in names]
        new = [file for file in dict.fromkeys(files) if file.is_file() and file not in found]
        found, left = found + new, left + new
    return found


def hash_of(exercise: str) -> str:
    digest = hashlib.sha256()
    for file in parts(exercise):
        digest.update(file.relative_to(ROOT).as_posix().encode() + b"\0" + file.read_bytes() + b"\0")
    return digest.hexdigest()


def unverified(file: Path = FILE) -> set[str]:
    """The exercises that changed since all of their answers were tried."""
    known = tomllib.loads(file.read_text(encoding="utf-8")) if file.is_file() else {}
    names = [exercise.name for exercise in syllabus.load()]
    return {name for name in names if known.get(name) != hash_of(name)}


def record(passed: set[str], file: Path = FILE) -> None:
    """Notes that all answers of these exercises were tried and all was well; of the others what was known stays."""
    known = tomllib.loads(file.read_text(encoding="utf-8")) if file.is_file() else {}
    known |= {name: hash_of(name) for name in passed}
    lines = [f'{exercise.name} = "{known[exercise.name]}"\n' for exercise in syllabus.load() if exercise.name in known]
    file.write_text(HEADER + "".join(lines), encoding="utf-8")
