"""The gate's table at the end of a run: of each exercise the wrong answers caught and the right ones accepted."""

import signal
from collections import Counter

import pytest

TABLE = pytest.StashKey[dict[str, dict[str, str]]]()
COLUMNS = ("wrong answers caught", "recognized", "right answers accepted", "seeds")


def pytest_addoption(parser):
    parser.addoption("--whole", action="store_true", help="all cases of what takes turns, seed by seed")


def pytest_configure(config):
    config.addinivalue_line("markers", "in_turns(n): one in n of a test's cases a run, which ones the seed decides")


def pytest_collection_modifyitems(config, items):
    if config.option.whole or config.option.keyword or any("::" in word for word in config.args):
        return
    numbers, left = Counter(), []
    for item in items:
        if mark := item.get_closest_marker("in_turns"):
            number = numbers[item.originalname] = numbers[item.originalname] + 1
            if number % mark.args[0] != config.option.seed % mark.args[0]:
                left.append(item)
    config.hook.pytest_deselected(items=left)
    items[:] = [item for item in items if item not in left]


@pytest.fixture(scope="session")
def whole(request) -> bool:
    return request.config.option.whole


def pytest_sessionstart():
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
def table(request) -> dict[str, dict[str, str]]:
    """table[exercise][column] is what the gate found: "37 of 37"."""
    return request.config.stash.setdefault(TABLE, {})


def pytest_terminal_summary(terminalreporter, config):
    rows = config.stash.get(TABLE, {})
    if rows:
        terminalreporter.section("wrong and right answers")
        for name, cells in ({"": {column: column for column in COLUMNS}} | rows).items():
            terminalreporter.write_line(f"{name:<22}" + "".join(f"{cells.get(c, ''):<{len(c) + 3}}" for c in COLUMNS))
