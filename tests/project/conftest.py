"""Options and fixtures of the project's own tests, and the gate's table at the end of a run.

Quick tests run always. Those marked `whole` run with --whole, or with --unverified where they are about an exercise
that changed since all of its answers were tried (tests/project/verified.py).
"""

import fcntl
import os
import signal
import tempfile
from pathlib import Path

import pytest

from tests.project import verified

COLUMNS = ("wrong answers caught", "recognized", "right answers accepted", "seeds")
UNVERIFIED = pytest.StashKey[set[str]]()


def pytest_addoption(parser):
    parser.addoption("--whole", action="store_true", help="everything, nothing left out")
    parser.addoption("--unverified", action="store_true", help="all answers of those exercises that changed")
    parser.addoption("--record", action="store_true", help="with --whole: write tests/project/verified.toml")


def pytest_configure(config):
    config.addinivalue_line("markers", "whole: left out of a quick run")
    config.addinivalue_line("markers", "alone: nothing else may run meanwhile, for the sake of a clock")
    config.stash[UNVERIFIED] = verified.unverified() if config.option.unverified else set()


def pytest_collection_modifyitems(config, items):
    if not (config.option.whole or config.option.keyword or any("::" in word for word in config.args)):
        left = [item for item in items if item.get_closest_marker("whole") and not _is_about_what_is_due(item)]
        config.hook.pytest_deselected(items=left)
        items[:] = [item for item in items if item not in left]
    if processes := int(os.environ.get("PYTEST_XDIST_WORKER_COUNT", 0)):
        # The longest first, so that all processes come to an end together, and last what needs the machine alone. Each
        # process begins with a run of this list as long as everybody's, and takes from the others' when it is done.
        longest_first = sorted(items, key=lambda item: (bool(item.get_closest_marker("alone")), -_seconds(item)))
        items[:] = [item for first in range(processes) for item in longest_first[first::processes]]


def _seconds(item) -> float:
    """How long it may take."""
    return max((mark.args[0] for mark in item.iter_markers("timeout") if mark.args), default=0)


def is_due(config, exercise: str) -> bool:
    """Whether all answers of an exercise are tried."""
    return config.option.whole or exercise in config.stash[UNVERIFIED]


def _is_about_what_is_due(item) -> bool:
    return hasattr(item, "callspec") and is_due(item.config, item.callspec.params.get("name", ""))


@pytest.fixture
def whole(request) -> bool:
    """Whether this test leaves nothing out."""
    asked = bool(request.node.get_closest_marker("whole"))  # it runs: by --whole, or by its name
    return request.config.option.whole or asked or _is_about_what_is_due(request.node)


@pytest.fixture(autouse=True)
def _cores(request, whole):
    """Tests run side by side in several processes; one that is marked `alone` waits for the others, and they for it.

    A clock judges nothing where not all answers are tried.
    """
    alone = whole and request.node.get_closest_marker("alone")
    with Path(tempfile.gettempdir(), "kata-tests.lock").open("a") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX if alone else fcntl.LOCK_SH)
        yield


def pytest_sessionstart():
    for name in [name for name in os.environ if name.startswith("PYTHON")]:  # as nox does: PYTHONUNBUFFERED hid a fault
        del os.environ[name]
    # A shell starts what runs in the background deaf to Ctrl-C, nohup to the terminal's end, and children inherit that:
    # some tests send one.
    signal.signal(signal.SIGINT, signal.default_int_handler)
    signal.signal(signal.SIGHUP, signal.SIG_DFL)


@pytest.fixture
def behind_walls(tmp_path):
    """behind_walls(source): a student with this exercise, ex01_x, in a worker; all of them end with the test."""
    from grader.sandbox import policy
    from grader.sandbox.sandboxed_student import SandboxedStudent

    students = []

    def start(source: str) -> SandboxedStudent:
        (tmp_path / "ex01_x.py").write_text(source)
        students.append(SandboxedStudent(tmp_path, "ex01_x", policy.best(), 1))
        return students[-1]

    yield start
    for student in students:
        student.close()


@pytest.fixture
def table(record_property):
    """table(exercise, column, "37 of 37"): what the gate found, for its table."""

    def note(exercise: str, column: str, found: str) -> None:
        record_property(f"{exercise}: {column}", found)

    return note


def pytest_terminal_summary(terminalreporter, config):
    reports = [report for kind in ("passed", "failed") for report in terminalreporter.stats.get(kind, [])]
    cells = dict(pair for report in reports if report.when == "call" for pair in report.user_properties)
    rows: dict[str, dict[str, str]] = {}
    for key, found in cells.items():
        exercise, _, column = key.partition(": ")
        rows.setdefault(exercise, {})[column] = found
    if rows:
        terminalreporter.section("wrong and right answers")
        for name, row in ({"": {column: column for column in COLUMNS}} | dict(sorted(rows.items()))).items():
            terminalreporter.write_line(f"{name:<22}" + "".join(f"{row.get(c, ''):<{len(c) + 3}}" for c in COLUMNS))
    if config.option.record and config.option.whole:
        failed = {name for name in rows for report in terminalreporter.stats.get("failed", []) if name in report.nodeid}
        verified.record({name for name, row in rows.items() if len(row) == len(COLUMNS)} - failed)
