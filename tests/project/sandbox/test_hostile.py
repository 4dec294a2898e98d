"""Submissions that want a grade without the work: each gets what it earned, ends in time, and leaves nothing behind."""

import os
import py_compile
import re
import shutil
import tempfile
import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path

import pytest

from grader.classroom import grade_submission
from grader.results import syllabus
from grader.results.model import RunResult
from grader.sandbox import policy
from tests.project import graded
from tests.project.graded import TIMED

SAMPLES = graded.ROOT / "tests" / "project" / "hostile"
EXERCISE, EARNS, STATE, SAYS = (
    re.compile(rf"^# {word}: ?(.*)$", re.MULTILINE) for word in ("exercise", "earns", "state", "says")
)
SOLUTION = graded.ROOT / "solutions" / "ex01_round_trip.py"
STUB = SAMPLES / "stub.py"
DEADLINE = 3  # seconds for a test
MEMORY = 1 << 30  # bytes for a worker: more take a slow machine longer than that
DISK = 512 << 20  # bytes for its files
LIMIT, LIMIT_TIMED = 90, 240  # seconds of processor time for a submission
WAITS = 4  # times as long by the clock
SEED = 1
QUICK = (  # one of a kind, in every run: values, verdicts, the process, time, memory, disk, other files and processes
    *("correct", "always_equal", "forged_report", "segfault", "endless_loop"),
    *("huge_allocation", "fills_the_disk", "reads_solutions", "fork_chain"),
)


class Silent:
    def testing(self, *_): ...
    def within(self, *_): ...
    def finished(self, *_): ...


def samples() -> dict[str, Path]:
    """Files that take an exercise's place, and folders whose one file is handed in beside a stub; by name."""
    folders = [path for path in SAMPLES.iterdir() if path.is_dir() and path.name != "__pycache__"]
    return {path.stem: path for path in sorted([*SAMPLES.glob("*.py"), *folders])}


def text_of(sample: Path) -> str:
    """With what the sample has to get."""
    return (sample if sample.is_file() else next(sample.glob("*.py"))).read_text()


def exercise_of(sample: Path) -> syllabus.Exercise:
    named = EXERCISE.search(text_of(sample))
    return syllabus.find(named[1] if named else "ex01", syllabus.load())


def handed_in(sample: Path, folder: Path) -> Path:
    """The submission that a sample is: with the solutions of all other exercises."""
    submission = folder / sample.stem
    if sample.is_dir():
        shutil.copytree(sample, submission)
    exercises = submission / "exercises"
    exercises.mkdir(parents=True, exist_ok=True)
    for file in (graded.ROOT / "solutions").glob("ex*.py"):
        mine = file.stem == exercise_of(sample).name
        instead = STUB if sample.is_dir() else sample
        shutil.copyfile(instead if mine else file, exercises / file.name)
    return submission


def mentioned(folder: str) -> list[int]:
    """The processes in whose environment a folder is named."""
    found = []
    for entry in Path("/proc").iterdir():
        try:
            if entry.name.isdecimal() and folder.encode() in (entry / "environ").read_bytes():
                found.append(int(entry.name))
        except OSError:
            continue
    return found


@pytest.fixture
def built() -> policy.Walls:
    return replace(policy.best(), memory=MEMORY, disk=DISK)


def _graded(name: str, built: policy.Walls) -> tuple[RunResult, list[int]]:
    """A sample's result, and the processes that were left."""
    sample, exercise = samples()[name], exercise_of(samples()[name])
    with tempfile.TemporaryDirectory(prefix="kata-hostile-") as folder:
        os.chmod(folder, 0o711)  # a worker may have a user of its own
        submission = handed_in(sample, Path(folder))
        scratch = Path(folder, "scratch")
        scratch.mkdir()
        result = grade_submission.grade(
            submission, [exercise], SEED, Silent(), built, deadline=DEADLINE, scratch=scratch
        )
        return result, mentioned(folder)


def _spent() -> float:
    """Processor time of this process and those that it waited for, and that these waited for."""
    return sum(os.times()[:4])


def _each_sample():
    for name, sample in samples().items():
        whole, alone = name not in QUICK, exercise_of(sample).timed
        yield pytest.param(name, marks=[pytest.mark.whole] * whole + [pytest.mark.alone] * alone)


@pytest.mark.timeout(900)
@pytest.mark.parametrize("name", list(_each_sample()))
def test_it_earns_what_it_earned_and_is_gone(name, built):
    text, began, spent = text_of(samples()[name]), time.monotonic(), _spent()
    result, left = _graded(name, built)
    seconds, spent = time.monotonic() - began, _spent() - spent
    said = [f"{f.outcome} {f.kind}: {f.failure.text()}" for f in result.functions if f.outcome != "passed"]
    in_full = "\n".join(message[:300] for message in said)
    assert str(result.earned) == EARNS.search(text)[1], in_full
    undecided = {
        function.name for function in result.functions if function.outcome == "undecided"
    }  # not by every machine
    state = "passed" if undecided and undecided <= TIMED else STATE.search(text)[1]
    assert re.fullmatch(state, result.exercises[0].state), in_full
    ways = SAYS.search(text)[1].split(" | ")  # where it depends on the machine which of the reasons comes first
    pattern = "|".join(".*".join(re.escape(part.strip()) for part in way.split("...")) for way in ways)
    assert any(re.search(pattern, " ".join(message.split())) for message in said or [""]), said
    assert set(grade_submission.expected(result.exercises[0].name)) == {f.name for f in result.functions}
    limit = LIMIT_TIMED if exercise_of(samples()[name]).timed else LIMIT
    assert spent < limit and seconds < WAITS * limit
    assert not left


@pytest.mark.whole
@pytest.mark.timeout(300)
def test_practice_without_anything_of_linux_grades_as_well():
    """As on macOS: the same pieces, without walls. Nobody should be graded so, and every result says it."""
    built = policy.Walls(policy.PRACTICE.tier, landlock=False, portable=True, memory=MEMORY)
    with ThreadPoolExecutor(2) as pool:
        names = ("correct", "exit_in_a_call", "ignores_signals", "huge_allocation")
        done = dict(zip(names, pool.map(lambda name: _graded(name, built), names), strict=True))
    assert {name: result.earned for name, (result, _) in done.items()} == {"correct": 10} | dict.fromkeys(names[1:], 0)
    assert all("practice only" in result.sandbox for result, _ in done.values())
    assert not any(left for _, left in done.values())


def test_there_are_enough_of_them():
    assert len(samples()) >= 32


@pytest.mark.timeout(300)
def test_files_that_change_how_python_or_pytest_starts_are_left_behind(tmp_path, built):
    submission = tmp_path / "hooked"
    submission.mkdir()
    for name in ("conftest.py", "sitecustomize.py", "usercustomize.py", "torch.py", "numpy.py", "grader.py"):
        (submission / name).write_text("import os\nprint('hooked')\nos._exit(0)\n")
    (submission / "pytest.ini").write_text("[pytest]\naddopts = --collect-only\n")
    (submission / "exercises.pth").write_text("import os; os._exit(0)\n")
    shutil.copyfile(SAMPLES / "wrong.py", submission / SOLUTION.name)
    result = grade_submission.grade(submission, syllabus.load()[:1], SEED, Silent(), built, deadline=DEADLINE)
    assert result.earned == int(EARNS.search((SAMPLES / "wrong.py").read_text())[1])
    assert not any("hooked" in function.output for function in result.functions)


@pytest.mark.timeout(300)
def test_bytecode_of_a_right_answer_beside_a_stub_earns_nothing(tmp_path, built):
    submission = tmp_path / "poisoned"
    (submission / "__pycache__").mkdir(parents=True)
    source = submission / SOLUTION.name
    shutil.copyfile(SOLUTION, source)
    py_compile.compile(str(source), doraise=True, invalidation_mode=py_compile.PycInvalidationMode.UNCHECKED_HASH)
    shutil.copyfile(STUB, source)
    assert list((submission / "__pycache__").glob("ex01*.pyc"))
    result = grade_submission.grade(submission, syllabus.load()[:1], SEED, Silent(), built, deadline=DEADLINE)
    assert (result.earned, result.exercises[0].state) == (0, "not started")


@pytest.mark.parametrize("kind", ["a link to a file", "links to a folder", "a pipe"])
def test_what_is_no_file_is_not_taken(tmp_path, built, kind):
    submission = tmp_path / "linked"
    submission.mkdir()
    if kind == "a link to a file":
        (submission / SOLUTION.name).symlink_to(SOLUTION)
    elif kind == "links to a folder":
        (submission / "exercises").symlink_to(SOLUTION.parent)
    else:
        os.mkfifo(submission / SOLUTION.name)
    result = grade_submission.grade(submission, syllabus.load()[:1], SEED, Silent(), built)
    assert result.earned == 0
    expected = "no regular file" if kind != "links to a folder" else "none of the exercises' files"
    assert all(expected in function.reason for function in result.functions)
    assert {f.name for f in result.functions} == set(grade_submission.expected("ex01_round_trip"))
