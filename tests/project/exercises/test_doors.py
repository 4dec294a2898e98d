"""Both doors of the boundary give one outcome: a sample here, everything in `nox -s doors`."""

import argparse
import sys
import tempfile
from dataclasses import replace
from pathlib import Path

import pytest

from grader.results import syllabus
from tests.project import graded
from tests.project.exercises.test_answers import CAUGHT_BY, EXERCISES, RIGHT, WRONG, answers
from tests.project.graded import TIMED

QUICK = [name for name in EXERCISES if name[:4] not in ("ex06", "ex08", "ex09", "ex10", "ex12", "ex13")]
ALWAYS = ("ex01",)  # in every run, a few answers
SEED = 7


def differences(jobs: list[graded.Job], processes: int = graded.PROCESSES) -> dict[str, tuple]:
    """Where a job's two doors differ: by submission and test, what each said."""
    behind = [replace(job, behind_walls=True) for job in jobs]
    reports = graded.run_shared([*jobs, *behind], processes)
    found = {}
    for job, one, other in zip(jobs, reports[: len(jobs)], reports[len(jobs) :], strict=True):
        said = [{test: [c["outcome"] for c in cases] for test, cases in report.items()} for report in (one, other)]
        for test in said[0].keys() | said[1].keys():
            pair = said[0].get(test), said[1].get(test)
            unsure = test in TIMED and all(
                outcome in ("passed", "undecided") for side in pair for outcome in side or []
            )
            if pair[0] != pair[1] and not unsure:
                found[f"{job.submission} {test}"] = pair
    return found


def jobs_for(name: str, folder: Path, wrong: list[Path], right: list[Path]) -> list[graded.Job]:
    """The solution, the stub (without right answers: not), wrong answers by the test that names them, right ones."""
    own = ("solutions", "exercises") if right else ("solutions",)
    jobs = [graded.Job(str(graded.ROOT / top), (name,), SEED) for top in own]
    submissions = graded.standing_in(folder, [*wrong, *right])
    for answer, submission in zip([*wrong, *right], submissions, strict=True):
        test = CAUGHT_BY.search(answer.read_text())
        jobs.append(graded.Job(str(submission), (name,), SEED, test[1] if test else ""))
    return jobs


@pytest.mark.timeout(600)
@pytest.mark.parametrize("name", [pytest.param(n, marks=[pytest.mark.whole] * (n[:4] not in ALWAYS)) for n in QUICK])
def test_both_doors_say_the_same(name, tmp_path, whole):
    jobs = jobs_for(name, tmp_path, answers(WRONG, name)[:: 9 if whole else 30], answers(RIGHT, name)[: int(whole)])
    assert differences(jobs) == {}


def main(argv: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="nox -s doors --", description="Everything through both doors.")
    parser.add_argument("exercises", nargs="*", metavar="EX", help="ex03 for instance; without it all of them")
    chosen = parser.parse_args(argv).exercises
    exercises = [syllabus.find(word, syllabus.load()) for word in chosen] or syllabus.load()
    bad = 0
    for exercise in exercises:
        with tempfile.TemporaryDirectory() as folder:
            jobs = jobs_for(exercise.name, Path(folder), answers(WRONG, exercise.name), answers(RIGHT, exercise.name))
            found = differences(jobs, 1 if exercise.timed else 2)
        print(f"{exercise.short}: {len(jobs)} submissions, {len(found)} differences", flush=True)
        for where, (local, sandboxed) in found.items():
            print(f"  {where}: {local} here, {sandboxed} in the sandbox")
        bad += len(found)
    return 1 if bad else 0


if __name__ == "__main__":
    sys.exit(main())
