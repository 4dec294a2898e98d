"""The pytest plugin of the graded suites: the `student` fixture, the seed, and what a report means to a learner.

Every report gets a dict `report.kata` with outcome, kind, message, file, line, measured figures and the learner's own
prints; the board and the JSON are made of these.
"""

import hashlib
import json
import random
from pathlib import Path

import pytest

from grader import boundary, diagnose, laws, loader
from llm.checkpoint import CheckpointError
from llm.corpus import CorpusError

ROOT = Path(__file__).parent.parent
TEST_SECONDS = 20  # of a test without a pytest.mark.timeout of its own
RAISED_LINES = 3  # of an exception's message: torch says what is missing in the second
DIAGNOSTICIAN = pytest.StashKey[diagnose.Diagnostician]()
BY_CHANCE = (
    "the same call, twice\ngot       two different results\nexpected  one result for the same arguments\n"
    "think     Is chance in it, or something that is kept from one call to the next?"
)
PRINTS_LIMIT = 4_000  # characters of a learner's prints that are kept for one test


def pytest_addoption(parser):
    group = parser.getgroup("kata")
    group.addoption("--submission", default="exercises", metavar="DIR", help="the folder to test (exercises)")
    group.addoption("--seed", type=int, default=None, metavar="N", help="repeat a run with the same inputs")
    group.addoption("--walls", metavar="JSON", help="run the submission in a worker behind these (grader/sandbox)")
    group.addoption(
        "--deadline",
        type=float,
        default=TEST_SECONDS,
        metavar="SECONDS",
        help="for a test behind walls that names none of its own (20)",
    )
    group.addoption(
        "--diagnosis",
        type=float,
        default=diagnose.SECONDS,
        metavar="SECONDS",
        help="for how long a suite's failures may be compared with known mistakes; 0: not at all (2)",
    )


def pytest_configure(config):
    config.addinivalue_line("markers", "points(n): what a test function of a graded suite is worth")
    if config.option.seed is None:
        config.option.seed = random.SystemRandom().randrange(2**32)
    if config.option.diagnosis:
        config.stash[DIAGNOSTICIAN] = diagnose.Diagnostician(config.option.diagnosis)


def pytest_report_header(config):
    return f"submission: {config.option.submission}, seed: {config.option.seed}"


@pytest.fixture(scope="session")
def seed(request) -> int:
    return request.config.option.seed


@pytest.fixture
def rng(request, seed):
    """Random numbers for this one test: the same for the same seed, also when it runs alone."""
    return generator(seed, request.node.nodeid)


@pytest.fixture
def measured(request) -> dict[str, float]:
    """Figures that the board shows: measured["size ratio"] = 3.2."""
    request.node._kata_measured = figures = {}
    return figures


@pytest.fixture(scope="module")
def student(request):
    """The exercise that this suite is about, behind the boundary (grader/boundary.py)."""
    folder = Path(request.config.option.submission)
    name = Path(request.module.__file__).stem.removeprefix("test_")
    folder = folder if folder.is_absolute() else request.config.invocation_params.dir / folder
    request.node._kata_student = face = _door(request.config, folder, name)
    yield face
    face.close()


def _door(config, folder: Path, exercise: str) -> boundary.Student:
    if not config.option.walls:
        return boundary.Student(folder, exercise)
    from grader.sandbox.remote import RemoteStudent, Walls

    return RemoteStudent(folder, exercise, Walls(**json.loads(config.option.walls)), config.option.seed)


@pytest.fixture
def for_all(request, seed, student):
    """for_all(law, examples=20, name=strategy, ...): the law's own error for the smallest inputs that break it.

    At most one in a test. In a diagnosis, the inputs that the learner's answer failed for; a larger call before it
    tells apart what looks alike on small ones.
    """

    def check(law, examples: int = 20, **strategies) -> None:
        if given := request.config.stash.get(diagnose.INPUTS, None):
            law(**given)
            return
        before = len(student.returned)
        try:
            inputs = laws.smallest_failure(law, seed, examples, strategies)
        except laws.ByChance:
            raise AssertionError(BY_CHANCE) from None
        if inputs is not None:
            request.node._kata_inputs = inputs
            del student.returned[before:]
            law(**inputs)  # once more, alone: this is what a diagnosis compares
            raise AssertionError(BY_CHANCE)

    return check


@pytest.fixture(autouse=True)
def _a_test_starts_afresh(request, seed):
    if "student" in request.fixturenames:
        timeout = request.node.get_closest_marker("timeout")
        # for dropout, and those of the learner's own; another number than that of rng, which makes the suite's inputs
        dice = generator(seed, f"dice of {request.node.nodeid}").initial_seed()
        request.getfixturevalue("student").begin_test(
            dice, timeout.args[0] if timeout else request.config.option.deadline
        )


def generator(seed: int, label: str):
    import torch

    digest = hashlib.sha256(f"{seed}:{label}".encode()).digest()
    return torch.Generator().manual_seed(int.from_bytes(digest[:7]))


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(item, call):
    report = yield
    if report.when == "call" or (report.when == "setup" and not report.passed):
        report.kata = _verdict(item, call)
        _diagnose(item, call, report)
        report.kata["measured"] = getattr(item, "_kata_measured", {})
        report.kata["output"] = report.capstdout[:PRINTS_LIMIT]
    return report


def _diagnose(item, call, report) -> None:
    """Adds to the report of a wrong answer which known mistake it looks like."""
    diagnostician = item.config.stash.get(DIAGNOSTICIAN, None)
    student = getattr(item.getparent(pytest.Module), "_kata_student", None)
    if diagnostician and report.when == "call" and report.kata["outcome"] == "passed":
        diagnostician.note_passed(item)
    elif diagnostician and student and report.when == "call" and report.kata["kind"] in ("wrong", "crashed"):
        found = diagnostician.look(item, call, student)
        if found:
            report.kata |= {"message": found.into(report.kata["message"]), "misconceptions": list(found.names)}
            report.sections.append(("What it looks like", f"{found.sentence}\n{found.think}"))


def _verdict(item, call) -> dict:
    verdict = {"outcome": "passed", "kind": "", "message": "", "file": None, "line": None, "misconceptions": []}
    if call.excinfo is None:
        return verdict
    error, student = call.excinfo.value, getattr(item.getparent(pytest.Module), "_kata_student", None)
    came_from = boundary.origin(error)
    file, line = student.location() if student else (None, None)
    if isinstance(error, boundary.Lost):
        loss = error.loss
        verdict |= {"outcome": loss.outcome, "kind": error.kind, "message": loss.message}
        verdict["message"] += f"\n{loss.place}" * bool(loss.place) + f"\nthink     {loss.hint}" * bool(loss.hint)
        file, line = (loss.place.file, loss.place.line) if loss.place else (file, line)
    elif isinstance(error, boundary.Undecided):
        verdict |= {"outcome": "undecided", "message": str(error)}
    elif isinstance(error, loader.Problem):
        verdict |= {"outcome": "error" if error.kind == "import" else "failed", "kind": error.kind}
        verdict["message"], (file, line) = str(error), (error.file or file, error.line or line)
    elif isinstance(error, CheckpointError | CorpusError) and came_from is None:
        verdict |= {"outcome": "error", "kind": "environment", "message": str(error)}
    elif isinstance(error, NotImplementedError) and came_from:
        verdict |= {"outcome": "failed", "kind": "not started"}
        verdict["message"] = f"`{came_from.function}` is still a stub"
        file, line = came_from.file or file, came_from.line or line
    elif came_from:
        verdict |= {"outcome": "failed", "kind": "crashed", "message": _crash(error, came_from)}
        file, line = came_from.file or file, came_from.line or line
    elif hasattr(error, "_kata_frames"):  # a worker's answer to what calls none of its functions
        verdict |= {"outcome": "failed", "kind": "crashed"}
        verdict["message"] = f"the process with this code raised an error of its own\nraised    {_raised(error)}"
    elif isinstance(error, pytest.fail.Exception) and str(error).startswith("Timeout"):
        verdict |= {"outcome": "timeout", "message": f"still running: {error}"}
    elif isinstance(error, AssertionError | pytest.fail.Exception):
        verdict |= {"outcome": "failed", "kind": "wrong", "message": str(error).split("\nassert ")[0]}
    elif isinstance(error, pytest.skip.Exception):
        verdict |= {"outcome": "failed", "kind": "suite", "message": f"skipped, which earns nothing: {error}"}
    else:
        verdict |= {"outcome": "failed", "kind": "suite"}
        verdict["message"] = f"the suite itself stumbled: {type(error).__name__}: {error}"
    verdict["file"], verdict["line"] = (str(file) if file else None), line
    return verdict


def _crash(error: BaseException, came_from: boundary.Origin) -> str:
    lines = [
        f"`{came_from.function}` raised an error",
        f"called    {came_from.call}",
        f"raised    {_raised(error)}",
    ]
    for label, frame in [("at", f) for f in came_from.frames[:1]] + [("inside", f) for f in came_from.frames[1:][-1:]]:
        lines.append(f"{label:<9} {loader.shown(Path(frame.filename))}:{frame.lineno}: {frame.line}")
    return "\n".join(lines + getattr(error, "__notes__", []))


def _raised(error: BaseException) -> str:
    what = f"{type(error).__name__}: {error}".rstrip(": ")
    return " ".join(line.strip() for line in what.splitlines()[:RAISED_LINES])[:300]
