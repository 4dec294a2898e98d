"""Runs graded suites over folders in processes of their own and brings back what each test said.

reports = run(folder, "ex01_round_trip", "ex02_per_channel")
reports["test_ties_go_to_the_even_code"] -> [{"outcome": ..., "kind": ..., "message": ...}, ...], one a case

run_shared(jobs, 2) does it for many submissions.
"""

import faulthandler
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

from grader.results.model import CaseResult
from grader.results.paths import ROOT
from grader.sandbox import policy
from grader.suite.diagnosis import FailedTest, diagnose

Reports = dict[str, list[dict]]
PROCESSES = max(1, (os.cpu_count() or 1) // int(os.environ.get("PYTEST_XDIST_WORKER_COUNT", 1)))  # for each test
SLOW = {"ex06", "ex08", "ex09", "ex10", "ex11", "ex12", "ex13"}  # exercises whose suites run the GPT for long
TIMED = {"test_the_gpt_is_twice_as_fast", "test_the_speedup_is_the_one_we_measure"}  # not every machine can judge
ONE_OF = {"ex09": "test_it_succeeds_and_prints_six_figures"}  # where no quick test depends on the seed


@dataclass(frozen=True)
class Job:
    """Suites to run over a submission; with `test` only this test of the first suite."""

    submission: str
    exercises: tuple[str, ...]
    seed: int = 1
    test: str = ""
    to_the_first: bool = False  # failure, and no further
    diagnosis: float = 0  # seconds
    plugin: str = ""  # to load besides
    behind_walls: bool = False  # through the sandboxed door
    random_only: bool = False  # of the quick tests those whose inputs depend on the seed


def quick(exercise: str) -> dict:
    """For a job: what of a suite is tried in a quick run."""
    if test := ONE_OF.get(exercise[:4]):
        return {"test": test}
    return {"random_only": exercise[:4] in SLOW}


def run(submission: Path, *exercises: str, seed: int = 1) -> Reports:
    return run_all([Job(str(Path(submission).resolve()), exercises, seed)])[0]


def standing_in(folder: Path, answers: Sequence[Path]) -> list[Path]:
    """A submission for each answer, a file in a folder called like its exercise, which takes the solution's place."""
    submissions = [Path(folder, str(k)).resolve() for k in range(len(answers))]
    for submission, answer in zip(submissions, answers, strict=True):
        submission.mkdir(parents=True)
        for file in (ROOT / "solutions").glob("ex*.py"):
            mine = file.stem == answer.parent.name
            (submission / file.name).write_bytes((answer if mine else file).read_bytes())
    return submissions


def run_shared(
    jobs: Sequence[Job], processes: int = PROCESSES, seconds: float = 0, environment: dict[str, str] | None = None
) -> list[Reports]:
    """All jobs in so many processes at once: importing torch takes longer than most suites.

    They share the cores: where each has threads for all of them, they wait for one another. With seconds as run_hardy.
    """
    shares = [jobs[k::processes] for k in range(processes)]
    environment = {"OMP_NUM_THREADS": str(max(1, (os.cpu_count() or 1) // processes))} | (environment or {})

    def run_share(share: Sequence[Job]) -> list[Reports]:
        return run_hardy(share, seconds, environment) if seconds else run_all(share, environment)

    with ThreadPoolExecutor(processes) as pool:
        done = list(pool.map(run_share, shares))
    return [done[k % processes][k // processes] for k in range(len(jobs))]


def run_all(jobs: Sequence[Job], environment: dict[str, str] | None = None) -> list[Reports]:
    """All jobs one after the other in one process."""
    reports, said = _attempt(jobs, environment=environment)
    assert len(reports) == len(jobs), f"the suites did not run to their end:\n{said}"
    return reports


def run_hardy(jobs: Sequence[Job], seconds: float, environment: dict[str, str] | None = None) -> list[Reports]:
    """The same for answers that may end their process, or run for longer than so many seconds: these are crashed."""
    reports: list[Reports] = []
    while len(reports) < len(jobs):
        some, said = _attempt(jobs[len(reports) :], seconds, environment)
        reports += some
        if len(reports) < len(jobs):
            reports.append({"the process": [{"outcome": "crashed", "kind": "crashed", "message": said}]})
    return reports


def _attempt(
    jobs: Sequence[Job], seconds: float = 0, environment: dict[str, str] | None = None
) -> tuple[list[Reports], str]:
    """As many of the jobs as one process gets done, and the end of what it printed."""
    with tempfile.TemporaryDirectory() as folder:
        answers = Path(folder, "answers")
        command = [sys.executable, "-m", "tests.project.graded", str(answers), str(seconds)]
        asked = json.dumps([asdict(job) for job in jobs])
        variables = os.environ | (environment or {})
        done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, input=asked, env=variables)
        reports = [json.loads(line) for line in answers.read_text().splitlines()] if answers.exists() else []
        return reports, f"{done.stdout[-2000:]}{done.stderr[-2000:]}"


class Collector:
    """What each case said, and how those failed that a diagnosis may look at: of each function the first."""

    def __init__(self, random_only: bool = False):
        self.reports: Reports = {}
        self.random_only = random_only
        self.observed: dict[str, tuple] = {}  # by function: id, observation, seconds
        self.passed: dict[str, list[str]] = {}
        self.of: dict[str, dict] = {}  # by id: the report

    def pytest_collection_modifyitems(self, items):
        if self.random_only:
            items[:] = [
                i for i in items if {"rng", "seed"} & set(i.fixturenames) and not i.get_closest_marker("timeout")
            ]

    def pytest_runtest_logreport(self, report):
        if not hasattr(report, "kata"):
            return
        name = report.nodeid.rpartition("::")[2].partition("[")[0]
        self.of[report.nodeid] = said = summary(report.kata)
        self.reports.setdefault(name, []).append(said)
        if report.kata.outcome == "passed":
            self.passed.setdefault(name, []).append(report.nodeid)
        elif report.kata_observation and name not in self.observed:
            self.observed[name] = report.nodeid, report.kata_observation, report.duration

    def diagnose(self, exercise: str, job: dict) -> None:
        """Compares the failures with known mistakes, as the second child of a run does it."""
        failed = [
            FailedTest(id_, name, seen, seconds, tuple(self.passed.get(name, ())))
            for name, (id_, seen, seconds) in self.observed.items()
        ]
        whole = {name for name, cases in self.reports.items() if all(c["outcome"] == "passed" for c in cases)}
        among = ROOT / "solutions" if job["behind_walls"] else Path(job["submission"])

        def tell(id_: str, matches: list) -> None:
            self.of[id_]["misconceptions"] = [match.name for match in matches]

        diagnose(exercise, failed, whole, among, job["seed"], job["diagnosis"], tell)


def summary(case: CaseResult) -> dict:
    return {
        "outcome": case.outcome,
        "kind": case.kind,
        "message": case.failure.text() if case.failure else "",
        "misconceptions": case.misconceptions,
        "case": case.case,
        "file": case.file,
        "line": case.line,
    }


def _main(answers: Path, seconds: float) -> None:
    import torch

    as_set = torch.get_num_threads(), torch.backends.quantized.engine
    with answers.open("w") as file:
        for job in json.load(sys.stdin):
            if seconds:
                faulthandler.dump_traceback_later(seconds, exit=True)
            collector = Collector(job["random_only"])
            suites = [f"tests/test_{exercise}.py" for exercise in job["exercises"]]
            suites = [f"{suites[0]}::{job['test']}"] if job["test"] else suites
            options = [f"--submission={job['submission']}", f"--seed={job['seed']}", "-q", "--timeout=300"]
            os.environ["PYTEST_PLUGINS"] = job["plugin"]  # not -p: a diagnosis has a session of its own
            options += ["--maxfail=1"] * job["to_the_first"]
            walls = ["-p", "grader.sandbox.plugin", f"--walls={json.dumps(asdict(policy.best()))}"]
            options += walls * job["behind_walls"]
            options += ["-p", "no:unraisableexception", "--tb=native"]  # slow, and nobody sees it
            pytest.main([*suites, *options], plugins=[collector])
            if job["diagnosis"] and collector.observed:
                collector.diagnose(job["exercises"][0], job)
            file.write(json.dumps(collector.reports) + "\n")
            file.flush()
            os.chdir(ROOT)  # the next answer finds the process as this one did
            torch.set_grad_enabled(True)
            torch.set_default_dtype(torch.float32)
            torch.set_num_threads(as_set[0])
            torch.backends.quantized.engine = as_set[1]


if __name__ == "__main__":
    _main(Path(sys.argv[1]), float(sys.argv[2]))
