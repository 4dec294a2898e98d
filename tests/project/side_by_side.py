"""The hostile submissions against an autograder of the usual kind, and against this one: `nox -s hostile`.

The usual kind copies the submission over its own copy of the project, runs `pytest --junitxml` there, and makes a grade
of what that left: of the exit code, or of the XML. It gets the same suites, and credit for the same test functions. It
runs within walls, all of it together, so that what it cannot keep in stays in the sample's folder.
"""

import argparse
import json
import os
import re
import select
import shutil
import socket
import subprocess
import sys
import tempfile
import time
import xml.etree.ElementTree as ET
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from pathlib import Path

from grader.classroom import grade_submission
from grader.sandbox import policy, worker_process
from tests.project import graded
from tests.project.sandbox.test_hostile import (
    DEADLINE,
    EARNS,
    MEMORY,
    SEED,
    Silent,
    exercise_of,
    handed_in,
    samples,
    text_of,
)

PATIENCE = 90  # seconds for an autograder; a platform would give it minutes
COPIED = ("grader", "llm", "tests", "exercises", "solutions", "conftest.py", "pyproject.toml")


@dataclass(frozen=True)
class Row:
    """What one sample got: what it earned, and what each autograder gave it. None: no result at all."""

    name: str
    what: str
    earned: int
    by_exit_code: int | None
    by_xml: int | None
    here: int

    @property
    def cells(self) -> list[str]:
        shown = [
            "none" if v is None else f"**{v}**" if v > self.earned else str(v) for v in (self.by_exit_code, self.by_xml)
        ]
        return [self.name.replace("_", " "), self.what, str(self.earned), *shown, str(self.here)]


# ---- an autograder of the usual kind ---------------------------------------------------------------------------------


def usual(project: Path, submission: Path, exercise: str, report: Path) -> None:
    """Grades a submission as is done everywhere; report gets the points by the exit code, and those by the XML."""
    shutil.copytree(submission, project, dirs_exist_ok=True)
    xml = project / "results.xml"
    command = [sys.executable, "-m", "pytest", f"tests/test_{exercise}.py", f"--junitxml={xml}", f"--seed={SEED}"]
    options = ["-q", "--timeout=20", "--submission=exercises"]
    code = subprocess.run([*command, *options], cwd=project).returncode
    points = {name: worth for name, (_, worth) in grade_submission.expected(exercise).items()}
    by_xml = 0
    if xml.exists():
        cases = list(ET.parse(xml).iter("testcase"))
        for name, worth in points.items():
            mine = [case for case in cases if re.sub(r"\[.*", "", case.get("name", "")) == name]
            by_xml += worth * bool(mine and not any(len(case.findall(tag)) for case in mine for tag in BAD))
    report.write_text(json.dumps({"by_exit_code": sum(points.values()) * (code == 0), "by_xml": by_xml}))


BAD = ("failure", "error", "skipped")


def within_walls(command: list, folder: Path, memory: int) -> None:
    """Runs a program that may write in this folder only, and ends it and all that it started after a while."""
    ours, theirs = socket.socketpair()
    null = os.open(os.devnull, os.O_WRONLY)
    built = replace(policy.best(), uid=None, seccomp=False, memory=memory)  # it may do to itself what it likes
    environment = {"PATH": os.environ["PATH"], "HOME": str(folder), "TMPDIR": str(folder), "PYTHONHASHSEED": "1"}
    with worker_process.start_supervisor(
        built,
        theirs,
        [],
        (null, null),
        [folder],
        readable=[str(folder)],
        listable=[],
        command=[str(word) for word in command],
        environment=environment,
    ) as process:
        theirs.close()
        os.close(null)
        told, until = ours.makefile("rb"), time.monotonic() + PATIENCE
        while (left := until - time.monotonic()) > 0 and select.select([ours], [], [], left)[0]:
            if not told.readline() or process.poll() is not None:
                break
        ours.shutdown(socket.SHUT_WR)
        process.wait(worker_process.END_SECONDS)
        told.close()
        ours.close()


def there(name: str) -> dict[str, int | None]:
    """What the usual autograder gives a sample."""
    sample = samples()[name]
    with tempfile.TemporaryDirectory(prefix="kata-usual-") as top:
        folder = Path(top)
        project, report = folder / "project", folder / "report.json"
        for entry in COPIED:
            source = graded.ROOT / entry
            ignore = shutil.ignore_patterns("__pycache__", "project", "misconceptions")
            if source.is_dir():
                shutil.copytree(source, project / entry, ignore=ignore)
            else:
                shutil.copyfile(source, project / entry)
        submission = handed_in(sample, folder / "handed in")
        arguments = [project, submission, exercise_of(sample).name, report]
        code = "import sys; sys.path.insert(0, sys.argv[1]); from tests.project.side_by_side import one; one()"
        # The autograder's own program: out of a submission's way, as long as nobody writes it over.
        shutil.copytree(graded.ROOT / "tests" / "project", project / "tests" / "project")
        within_walls([sys.executable, "-B", "-c", code, *arguments], folder, MEMORY * 3)
        try:
            given = json.loads(report.read_text())
            return {key: given[key] if type(given[key]) is int else None for key in ("by_exit_code", "by_xml")}
        except (OSError, ValueError, KeyError, TypeError):
            return {"by_exit_code": None, "by_xml": None}


def one() -> None:
    project, submission, exercise, report = sys.argv[1:]
    usual(Path(project), Path(submission), exercise, Path(report))


# ---- side by side ----------------------------------------------------------------------------------------------------


def row(name: str) -> Row:
    sample = samples()[name]
    text = text_of(sample)
    what = text.lstrip('"').partition('"""')[0].partition("\n")[0].rstrip(".")
    with tempfile.TemporaryDirectory(prefix="kata-here-") as folder:
        submission = handed_in(sample, Path(folder))
        result = grade_submission.grade(
            submission, [exercise_of(sample)], SEED, Silent(), policy.best(), deadline=DEADLINE
        )
    return Row(name, what, int(EARNS.search(text)[1]), **there(name), here=result.earned)


def main(argv: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="nox -s hostile --", description="Hostile submissions, there and here.")
    parser.add_argument("names", nargs="*", metavar="SAMPLE", help="only these; without any, all of them")
    names = parser.parse_args(argv).names or list(samples())
    if unknown := [name for name in names if name not in samples()]:
        parser.error(f"no sample named {', '.join(unknown)}: see tests/project/hostile/")
    timed = [name for name in names if exercise_of(samples()[name]).timed]
    with ThreadPoolExecutor(2) as pool:
        rows = list(pool.map(row, [name for name in names if name not in timed]))
    rows = sorted([*rows, *map(row, timed)], key=lambda r: r.name)
    heading = ["submission", "what it does", "earned", "pytest, exit code", "pytest, XML", "here"]
    for cells in (heading, ["---"] * len(heading), *(r.cells for r in rows)):
        print(f"| {' | '.join(cells)} |")
    print(f"\n{summary(rows)}")
    return 1 if any(r.here != r.earned for r in rows) else 0


def summary(rows: list[Row]) -> str:
    """How many got more than they earned."""
    unearned = [sum((getattr(r, key) or 0) > r.earned for r in rows) for key in ("by_exit_code", "by_xml", "here")]
    lost = sum(r.by_xml is None for r in rows)
    either = sum(max(r.by_exit_code or 0, r.by_xml or 0) > r.earned for r in rows)
    return (
        f"Of {len(rows)} submissions {unearned[0]} get credit that they did not earn by pytest's exit code, "
        f"{unearned[1]} by its XML, {either} by one of them, and {unearned[2]} here; "
        f"{lost} leave that autograder without any result."
    )


if __name__ == "__main__":
    sys.exit(main())
