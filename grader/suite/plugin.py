"""The pytest plugin of the graded suites: the `student` fixture, the seed, and what a report means to a learner.

Runs in pytest's process. The report of every graded test gets `report.kata`, a CaseResult, and, where a diagnosis may
look at it, `report.kata_observation`.
"""

import hashlib
import random
from pathlib import Path

import pytest

from grader.results.failure import Failure
from grader.results.paths import TESTS
from grader.suite import property_search
from grader.suite.verdict import WrongAnswer, judge

TEST_SECONDS = 20  # of a test without a pytest.mark.timeout of its own
OPEN_STUDENT = pytest.StashKey()  # open(folder, exercise, request) -> Student; where none is set, the local student
TEST_ID = pytest.StashKey[str]()  # in the place of an item's own nodeid, by which its inputs are drawn
STUDENT = pytest.StashKey()  # of a module: the student of its tests
FIGURES = pytest.StashKey[dict]()
INPUTS = pytest.StashKey[dict]()  # of a law, in a diagnosis: in place of looking for some
BROKEN_BY = pytest.StashKey[dict]()  # the inputs that for_all found
PROGRESS = pytest.StashKey()  # progress(words): where somebody watches
PRINTS_LIMIT = 4_000  # characters of a learner's prints that are kept for one test


def pytest_addoption(parser):
    group = parser.getgroup("kata")
    group.addoption("--submission", default="exercises", metavar="DIR", help="the folder to test (exercises)")
    group.addoption("--seed", type=int, default=None, metavar="N", help="repeat a run with the same inputs")


def pytest_configure(config):
    config.addinivalue_line("markers", "points(n): what a test function of a graded suite is worth")
    config.addinivalue_line("markers", "slow(*functions): a test that can wait until quick ones of these pass")
    if config.option.seed is None:
        config.option.seed = random.SystemRandom().randrange(2**32)


def pytest_report_header(config):
    return f"submission: {config.option.submission}, seed: {config.option.seed}"


@pytest.fixture(scope="session")
def seed(request) -> int:
    return request.config.option.seed


@pytest.fixture
def rng(request, seed):
    """Random numbers for this one test: the same for the same seed, also when it runs alone."""
    return generator(seed, _id(request.node))


@pytest.fixture
def measured(request) -> dict[str, float]:
    """Figures that the board shows: measured["size ratio"] = 3.2."""
    request.node.stash[FIGURES] = figures = {}
    return figures


@pytest.fixture
def progress(request):
    """progress("round 3 of 21"): how far a test of more than a few seconds is, for whoever waits."""
    return request.config.stash.get(PROGRESS, lambda words: None)


@pytest.fixture(scope="module")
def student(request):
    """The exercise that this suite is about: a grader.suite.student.Student."""
    folder = Path(request.config.option.submission)
    exercise = Path(request.module.__file__).stem.removeprefix("test_")
    folder = folder if folder.is_absolute() else request.config.invocation_params.dir / folder
    opens = request.config.stash.get(OPEN_STUDENT, None)
    opened = opens(folder, exercise, request) if opens else _local(folder, exercise)
    request.node.stash[STUDENT] = opened
    yield opened
    opened.close()


def _local(folder: Path, exercise: str):
    from grader.suite.local_student import LocalStudent

    return LocalStudent(folder, exercise)


@pytest.fixture
def for_all(request, seed, student):
    """for_all(law, examples=20, name=strategy, ...): the law's own error for the smallest inputs that break it.

    At most one in a test. In a diagnosis, the inputs that the learner's answer failed for; a larger call before it
    tells apart what looks alike on small ones.
    """

    def check(law, examples: int = 20, **strategies) -> None:
        if given := request.node.stash.get(INPUTS, None):
            law(**given)
            return
        before = len(student.returned.values)
        try:
            inputs = property_search.smallest_failure(law, seed, examples, strategies)
        except property_search.ByChance:
            raise _by_chance() from None
        if inputs is not None:
            request.node.stash[BROKEN_BY] = inputs
            del student.returned.values[before:]
            law(**inputs)  # once more, alone: this is what a diagnosis compares
            raise _by_chance()

    return check


def _by_chance() -> WrongAnswer:
    return WrongAnswer(
        Failure(
            called="the same call, twice",
            got="two different results",
            expected="one result for the same arguments",
            think="Is chance in it, or something that is kept from one call to the next?",
        )
    )


@pytest.fixture(autouse=True)
def _a_test_starts_afresh(request, seed):
    if "student" in request.fixturenames:
        timeout = request.node.get_closest_marker("timeout")
        # for dropout, and those of the learner's own; another number than that of rng, which makes the suite's inputs
        dice = generator(seed, f"dice of {_id(request.node)}").initial_seed()
        seconds = timeout.args[0] if timeout else getattr(request.config.option, "deadline", TEST_SECONDS)
        request.getfixturevalue("student").begin_test(dice, seconds)


def _id(item: pytest.Item) -> str:
    return item.stash.get(TEST_ID, item.nodeid)


def generator(seed: int, label: str):
    import torch

    digest = hashlib.sha256(f"{seed}:{label}".encode()).digest()
    return torch.Generator().manual_seed(int.from_bytes(digest[:7]))


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(item, call):
    report = yield
    graded = item.path.resolve().parent == TESTS
    if graded and (report.when == "call" or (report.when == "setup" and not report.passed)):
        module = item.getparent(pytest.Module)
        student = module.stash.get(STUDENT, None) if module else None
        case = judge(call.excinfo and call.excinfo.value, student)
        case.case = item.callspec.id if hasattr(item, "callspec") else ""
        if case.failure:
            case.failure.case = case.case
        case.measured = item.stash.get(FIGURES, {})
        case.output = report.capstdout[:PRINTS_LIMIT]
        report.kata, report.kata_observation = case, None
        report.kata_function = student.last_call if student else ""
        if student and report.when == "call" and case.kind in ("wrong", "crashed"):
            from grader.suite.observation import Observation

            report.kata_observation = Observation.of(
                call.excinfo, student.returned.values, item.stash.get(BROKEN_BY, None)
            )
    return report
