"""Runs graded suites over a folder in a process of its own and brings back what each test said.

reports = run(folder, "ex01_round_trip", "ex02_per_channel")
reports["test_ties_go_to_the_even_code"] -> [{"outcome": ..., "kind": ..., "message": ...}, ...], one a case
"""

import json
import subprocess
import sys
import tempfile
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent.parent


def run(submission: Path, *exercises: str, seed: int = 1, select: str = "") -> dict[str, list[dict]]:
    with tempfile.TemporaryDirectory() as folder:
        answer = Path(folder, "answer.json")
        suites = [f"tests/test_{exercise}.py" for exercise in exercises]
        options = [f"--submission={Path(submission).resolve()}", f"--seed={seed}", *(["-k", select] if select else [])]
        command = [sys.executable, "-m", "tests.project.graded", str(answer), *suites, *options]
        done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, stdin=subprocess.DEVNULL)
        assert answer.exists(), f"the suites did not run to their end:\n{done.stdout[-2000:]}{done.stderr[-2000:]}"
        return json.loads(answer.read_text())


class Collector:
    def __init__(self):
        self.reports = {}

    def pytest_runtest_logreport(self, report):
        if hasattr(report, "kata"):
            name = report.nodeid.rpartition("::")[2].partition("[")[0]
            self.reports.setdefault(name, []).append(report.kata | {"case": report.nodeid})


if __name__ == "__main__":
    collector = Collector()
    pytest.main([*sys.argv[2:], "-q", "--timeout=300"], plugins=[collector])
    Path(sys.argv[1]).write_text(json.dumps(collector.reports))
