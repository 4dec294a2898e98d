"""The gate: wrong answers that people really give are caught, by the test and for the reason that each names, and are
recognized; right answers of every kind pass. Run with -rP for a line an exercise; the table stands at the end."""

import re
from pathlib import Path

import pytest

from grader.results import syllabus
from grader.suite.diagnosis import CAUGHT_BY
from tests.project import graded
from tests.project.conftest import is_due
from tests.project.exercise_parts import SAYS, fault_of_wrong_answer, right_at_least, wrong_at_least
from tests.project.graded import TIMED

WRONG, RIGHT = graded.ROOT / "tests" / "misconceptions", graded.ROOT / "tests" / "project" / "right_answers"
SPEED = re.compile(r"^# speed: depends on the processor$", re.MULTILINE)  # of a right answer: not fast enough on some
EXERCISES = {exercise.name: exercise for exercise in syllabus.load()}
MORE_SEEDS = 2  # besides this run's own, for the tests that are quick and depend on it
LONG = {"ex06", "ex08", "ex09"}  # not asked for a diagnosis of every test
QUICK_WRONG, QUICK_WRONG_SLOW, QUICK_RIGHT = 3, 2, 1  # answers of an exercise in a quick run
DIAGNOSED = 3  # one in so many is compared with known mistakes
DIAGNOSIS = 5  # seconds: too few for tests of the whole GPT
ALIKE = {  # these all come to factors of one, so that no value tells them apart
    "ex12": {
        "error_of_the_weight",
        "layer_rounds_to_nearest",
        "not_scaled_back_in_the_search",
        "round_to_nearest",
        "scaled_the_other_way",
    }
}
# In some tests these return the right values: the search finds the same alpha either way, or a group is a whole row.
RIGHT_ELSEWHERE = {"ex12": {"alpha_is_one", "columns_one_by_one", "group_size_forgotten"}}
# Nothing else may run beside the suite whose verdict is about speed.
EACH = [pytest.param(name, marks=[pytest.mark.alone] * name.startswith("ex08")) for name in EXERCISES]
EVERY = pytest.mark.parametrize("name", EACH)


def answers(folder: Path, name: str) -> list[Path]:
    return sorted((folder / name).glob("*.py"))


def some(files: list[Path], number: int) -> list[Path]:
    """So many of them, from the beginning to the end."""
    return [files[k * len(files) // number] for k in range(min(number, len(files)))]


def is_quick(wrong: Path) -> bool:
    """Whether the test that catches it runs no whole GPT."""
    return "gpt" not in CAUGHT_BY.search(wrong.read_text())[1]


def tried(name: str, jobs: list[graded.Job]) -> list[graded.Reports]:
    return graded.run_shared(jobs, 1 if name.startswith("ex08") else graded.PROCESSES)


@pytest.mark.parametrize("name", EXERCISES)
def test_there_are_enough_answers_and_the_wrong_ones_speak_to_the_learner_and_name_their_test(name):
    tests = re.findall(r"^def (test_\w+)\(", (graded.ROOT / "tests" / f"test_{name}.py").read_text(), re.MULTILINE)
    assert len(answers(WRONG, name)) >= wrong_at_least(name)
    assert len(answers(RIGHT, name)) >= right_at_least(name)
    for file in answers(WRONG, name):
        assert not fault_of_wrong_answer(file.read_text(), tests), file


def jobs_of_wrong(name: str, wrong: list[Path], seed: int, folder: Path) -> list[graded.Job]:
    """Each with the test that it names, and one in DIAGNOSED compared with known mistakes."""
    jobs = []
    for k, (file, submission) in enumerate(zip(wrong, graded.standing_in(folder, wrong), strict=True)):
        diagnosis = DIAGNOSIS if k % DIAGNOSED == 0 and not name.startswith("ex09") else 0
        test = CAUGHT_BY.search(file.read_text())[1]
        jobs.append(graded.Job(str(submission), (name,), seed, test, diagnosis=diagnosis))
    return jobs


def check_wrong(name: str, wrong: list[Path], reports: list[graded.Reports], table) -> None:
    escaped, mistaken, asked, recognized = {}, {}, 0, 0
    for k, (file, report) in enumerate(zip(wrong, reports, strict=True)):
        cases = [case for case in report.get(CAUGHT_BY.search(file.read_text())[1], []) if case["outcome"] != "passed"]
        kinds = {case["kind"] for case in cases}
        if not kinds or not kinds <= {"wrong", "crashed"} or not any(says(file, case["message"]) for case in cases):
            escaped[file.stem] = [(case["outcome"], case["message"][:300]) for case in cases] or "passed"
        found = {known for case in cases for known in case["misconceptions"]}
        too_long = "_gpt" in CAUGHT_BY.search(file.read_text())[1]
        if file.stem not in ALIKE.get(name[:4], ()) and not too_long:
            asked += k % DIAGNOSED == 0
            recognized += file.stem in found
        if found and file.stem not in found:
            mistaken[file.stem] = found
    table(name, "wrong answers caught", f"{len(wrong) - len(escaped)} of {len(wrong)}")
    table(name, "recognized", f"{recognized} of {asked}" if not name.startswith("ex09") else "not asked")
    assert not escaped, name
    assert not mistaken, name
    assert name[:4] in LONG or recognized >= 0.7 * asked, name  # within a time, on a machine that may be busy


def check_right(name: str, right: list[Path], seeds: list[int], reports: list[graded.Reports], table) -> None:
    """reports: of every answer with one seed after the other; with the first, something of it ran"""
    each, rejected = iter(reports), {}
    for file in right:
        for s in seeds:
            report = next(each)
            assert report or s != seeds[0], f"{file}: nothing ran"
            for test, cases in report.items():
                fine = {"passed", "undecided"} if test in TIMED else {"passed"}
                bad = [case for case in cases if case["outcome"] not in fine]
                if test in TIMED and SPEED.search(file.read_text()):
                    bad = [case for case in bad if "times as fast as float32" not in case["message"]]
                if bad:
                    rejected[file.stem] = f"seed {s}, {test}: {bad[0]['message'][:500]}"
    table(name, "right answers accepted", f"{len(right) - len(rejected)} of {len(right)}")
    table(name, "seeds", ", ".join(map(str, seeds)))
    assert not rejected, name


@pytest.mark.timeout(900)
def test_a_few_answers_of_every_exercise(seed, pytestconfig, table, tmp_path):
    """All that a quick run tries, in one process; of the exercises whose answers are all due, nothing."""
    names = [name for name in EXERCISES if not is_due(pytestconfig, name)]
    jobs, shares = [], []
    for name in names:
        wrong, right = answers(WRONG, name), answers(RIGHT, name)
        number = QUICK_WRONG_SLOW if name[:4] in graded.SLOW else QUICK_WRONG
        wrong = some([file for file in wrong if is_quick(file)] or wrong, number)
        right = some(right, QUICK_RIGHT)
        mine = jobs_of_wrong(name, wrong, seed, tmp_path / name / "wrong")
        for submission in graded.standing_in(tmp_path / name / "right", right):
            mine.append(graded.Job(str(submission), (name,), seed, **graded.quick(name)))
        shares.append((name, wrong, right, slice(len(jobs), len(jobs) + len(mine))))
        jobs += mine
    reports = graded.run_shared(jobs)
    for name, wrong, right, share in shares:
        check_wrong(name, wrong, reports[share][: len(wrong)], table)
        check_right(name, right, [seed], reports[share][len(wrong) :], table)


@pytest.mark.whole
@pytest.mark.timeout(1800)
@EVERY
def test_each_wrong_answer_is_caught_by_the_test_and_for_the_reason_it_names(name, seed, table, tmp_path):
    wrong = answers(WRONG, name)
    check_wrong(name, wrong, tried(name, jobs_of_wrong(name, wrong, seed, tmp_path)), table)


@pytest.mark.whole
@pytest.mark.timeout(1800)
@EVERY
def test_each_right_answer_passes_everything(name, seed, table, tmp_path):
    right, seeds = answers(RIGHT, name), [seed + k for k in range(1 + MORE_SEEDS)]
    submissions = graded.standing_in(tmp_path, right)
    jobs = [graded.Job(str(path), (name,), s, random_only=s != seed) for path in submissions for s in seeds]
    check_right(name, right, seeds, tried(name, jobs), table)


@pytest.mark.timeout(1800)
@pytest.mark.whole
@pytest.mark.parametrize("name", [name for name in EXERCISES if name[:4] not in LONG])
def test_right_values_look_like_no_mistake(name, seed):
    """The solution, in a suite whose tests all fail."""
    plugin = "tests.project.fails_after_all"
    jobs = [graded.Job(str(graded.ROOT / "solutions"), (name,), seed, diagnosis=DIAGNOSIS, plugin=plugin)]
    cases = [case for cases in tried(name, jobs)[0].values() for case in cases]
    assert cases and all(case["message"].startswith("whatever it is given") for case in cases)
    found = {known for case in cases for known in case["misconceptions"]}
    assert not found - RIGHT_ELSEWHERE.get(name[:4], set())


def says(file: Path, message: str) -> bool:
    """Whether a failure is the one that a wrong answer names; "..." stands for whatever depends on the seed."""
    wanted = SAYS.search(file.read_text())
    pattern = ".*".join(re.escape(part.strip()) for part in wanted[1].split("...")) if wanted else ""
    return re.search(pattern, " ".join(message.split())) is not None
