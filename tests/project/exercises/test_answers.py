"""The gate: wrong answers that people really give are caught, by the test and for the reason that each names, and are
recognized; right answers of every kind pass. Run with -rP for a line an exercise; the table stands at the end."""

import re
from pathlib import Path

import pytest

from grader.results import syllabus
from grader.suite.diagnosis import CAUGHT_BY
from tests.project import graded
from tests.project.exercise_parts import SAYS, fault_of_wrong_answer, right_at_least, wrong_at_least

WRONG, RIGHT = graded.ROOT / "tests" / "misconceptions", graded.ROOT / "tests" / "project" / "right_answers"
TIMED = {"test_the_gpt_is_twice_as_fast", "test_the_speedup_is_the_one_we_measure"}  # not every machine can judge
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
RIGHT_ELSEWHERE = {"ex12": {"columns_one_by_one"}}  # where the search finds the same alpha either way: in most tests
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
def test_a_wrong_answer_speaks_to_the_learner_and_names_its_test(name):
    tests = re.findall(r"^def (test_\w+)\(", (graded.ROOT / "tests" / f"test_{name}.py").read_text(), re.MULTILINE)
    assert len(answers(WRONG, name)) >= wrong_at_least(name)
    for file in answers(WRONG, name):
        assert not fault_of_wrong_answer(file.read_text(), tests), file


@pytest.mark.timeout(1800)
@EVERY
def test_each_wrong_answer_is_caught_by_the_test_and_for_the_reason_it_names(name, seed, whole, table, tmp_path):
    wrong = answers(WRONG, name)
    if not whole:
        number = QUICK_WRONG_SLOW if name[:4] in graded.SLOW else QUICK_WRONG
        wrong = some([file for file in wrong if is_quick(file)] or wrong, number)
    jobs = []
    for k, (file, submission) in enumerate(zip(wrong, graded.standing_in(tmp_path, wrong), strict=True)):
        diagnosis = DIAGNOSIS if k % DIAGNOSED == 0 and not name.startswith("ex09") else 0
        jobs.append(
            graded.Job(str(submission), (name,), seed, CAUGHT_BY.search(file.read_text())[1], diagnosis=diagnosis)
        )
    escaped, mistaken, asked, recognized = {}, {}, 0, 0
    for k, (file, report) in enumerate(zip(wrong, tried(name, jobs), strict=True)):
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
    assert not escaped
    assert not mistaken
    assert name[:4] in LONG or recognized >= 0.7 * asked  # within a time, on a machine that may be busy


@pytest.mark.timeout(1800)
@EVERY
def test_each_right_answer_passes_everything(name, seed, whole, table, tmp_path):
    right = answers(RIGHT, name)
    assert len(right) >= right_at_least(name)
    seeds = [seed + k for k in range(1 + (MORE_SEEDS if whole else 0))]
    right = right if whole else some(right, QUICK_RIGHT)
    of_it = {} if whole else graded.quick(name)
    jobs = [
        graded.Job(str(submission), (name,), s, **(of_it if s == seed else {"random_only": True}))
        for submission in graded.standing_in(tmp_path, right)
        for s in seeds
    ]
    reports, rejected = iter(tried(name, jobs)), {}
    for file in right:
        for s in seeds:
            report = next(reports)
            assert report or s != seed, f"{file}: nothing ran"
            for test, cases in report.items():
                fine = {"passed", "undecided"} if test in TIMED else {"passed"}
                bad = [case for case in cases if case["outcome"] not in fine]
                if bad:
                    rejected[file.stem] = f"seed {s}, {test}: {bad[0]['message'][:500]}"
    table(name, "right answers accepted", f"{len(right) - len(rejected)} of {len(right)}")
    table(name, "seeds", ", ".join(map(str, seeds)))
    assert not rejected


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
