"""Runs graded suites over folders in processes of their own and brings back what each test said.

reports = run(folder, "ex01_round_trip", "ex02_per_channel")
reports["test_ties_go_to_the_even_code"] -> [{"outcome": ..., "kind": ..., "message": ...}, ...], one a case

run_each(answers) does it for many answers to single exercises, several to a process: importing torch takes longer than
most suites.
"""

import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent.parent

Reports = dict[str, list[dict]]


@dataclass(frozen=True)
class Job:
    """Suites to run over a submission; with `test` only this test of the first suite."""

    submission: str
    exercises: tuple[str, ...]
    seed: int = 1
    test: str = ""


def run(submission: Path, *exercises: str, seed: int = 1) -> Reports:
    return run_all([Job(str(Path(submission).resolve()), exercises, seed)])[0]


def run_each(answers: Sequence[Path], seed: int, tests: Sequence[str] = (), processes: int = 1) -> list[Reports]:
    """Each answer, a file in a folder called like its exercise, in the place of the solution's file.

    tests: for each answer the one test to run; without it all of its suite
    """
    with tempfile.TemporaryDirectory() as folder:
        jobs = []
        for k, answer in enumerate(answers):
            submission = Path(folder, str(k))
            submission.mkdir()
            for file in (ROOT / "solutions").glob("ex*.py"):
                mine = file.stem == answer.parent.name
                (submission / file.name).write_bytes((answer if mine else file).read_bytes())
            jobs.append(Job(str(submission.resolve()), (answer.parent.name,), seed, tests[k] if tests else ""))
        shares = [jobs[k::processes] for k in range(processes)]
        with ThreadPoolExecutor(processes) as pool:
            done = list(pool.map(run_all, shares))
        return [done[k % processes][k // processes] for k in range(len(jobs))]


def run_all(jobs: Sequence[Job]) -> list[Reports]:
    """All jobs one after the other in one process."""
    with tempfile.TemporaryDirectory() as folder:
        answers = Path(folder, "answers")
        command = [sys.executable, "-m", "tests.project.graded", str(answers)]
        asked = json.dumps([asdict(job) for job in jobs])
        done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, input=asked)
        reports = [json.loads(line) for line in answers.read_text().splitlines()] if answers.exists() else []
        complaint = f"the suites did not run to their end:\n{done.stdout[-2000:]}{done.stderr[-2000:]}"
        assert len(reports) == len(jobs), complaint
        return reports


class Collector:
    def __init__(self):
        self.reports: Reports = {}

    def pytest_runtest_logreport(self, report):
        if hasattr(report, "kata"):
            name = report.nodeid.rpartition("::")[2].partition("[")[0]
            self.reports.setdefault(name, []).append(report.kata | {"case": report.nodeid})


def _main(answers: Path) -> None:
    import torch

    as_set = torch.get_num_threads(), torch.backends.quantized.engine
    with answers.open("w") as file:
        for job in json.load(sys.stdin):
            collector = Collector()
            suites = [f"tests/test_{exercise}.py" for exercise in job["exercises"]]
            suites = [f"{suites[0]}::{job['test']}"] if job["test"] else suites
            options = [f"--submission={job['submission']}", f"--seed={job['seed']}", "-q", "--timeout=300"]
            pytest.main([*suites, *options], plugins=[collector])
            file.write(json.dumps(collector.reports) + "\n")
            file.flush()
            os.chdir(ROOT)  # the next answer finds the process as this one did
            torch.set_grad_enabled(True)
            torch.set_num_threads(as_set[0])
            torch.backends.quantized.engine = as_set[1]


if __name__ == "__main__":
    _main(Path(sys.argv[1]))
