"""The pytest plugin that puts the sandboxed student in the place of the local one: `-p grader.sandbox.plugin`."""

import json
from pathlib import Path

from grader.sandbox.policy import Walls
from grader.sandbox.sandboxed_student import SandboxedStudent
from grader.suite.plugin import OPEN_STUDENT, TEST_SECONDS


def pytest_addoption(parser):
    group = parser.getgroup("kata")
    group.addoption("--walls", metavar="JSON", help="what keeps the workers in (grader/sandbox/policy.py)")
    group.addoption(
        "--deadline", type=float, default=TEST_SECONDS, metavar="SECONDS", help="for a test that names none (20)"
    )


def pytest_configure(config):
    walls = Walls(**json.loads(config.option.walls))

    def open_student(folder: Path, exercise: str, request) -> SandboxedStudent:
        return SandboxedStudent(folder, exercise, walls, request.config.option.seed)

    config.stash[OPEN_STUDENT] = open_student
