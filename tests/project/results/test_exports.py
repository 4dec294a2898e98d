"""The result model as platforms read it."""

import json
import re
import xml.etree.ElementTree as ET

import pytest

from grader.classroom import grade_submission
from grader.results import exports, syllabus
from grader.results.failure import Failure
from grader.results.model import CaseResult, ExerciseResult, RunResult, combine

ENVIRONMENT = {
    "CLASSROOM": "cs-2026",
    "ASSIGNMENT": "quantization",
    "ASSIGNMENT_TYPE": "individual",
    "OWNER": "someone",
    "SUBMISSION_TAG": "submit/2026-11-25T10-00-00Z-0123456",
    "COMMIT_URL": "https://example.org/commit/0123456",
    "RELEASE_URL": "https://example.org/releases/1",
    "REVIEW_URL": "https://example.org/compare/1",
}


def classroom50_faults(record: dict) -> list[str]:
    """What the platform's own check of classroom50/result/v1 would complain about."""
    texts = ("classroom", "assignment", "assignment_type", "owner", "commit", "release", "review", "datetime")
    faults = [key for key in texts if not (isinstance(record.get(key), str) and record[key])]
    faults += ["schema"] * (record.get("schema") != "classroom50/result/v1")
    faults += ["submission"] * (not str(record.get("submission")).startswith("submit/"))
    for entry in [record, *record["tests"]]:
        score, maximum = entry.get("score"), entry.get("max-score")
        whole = type(score) is int and type(maximum) is int
        faults += [f"score {score!r} of {maximum!r}"] * (not (whole and 0 <= score <= maximum))
    for test in record["tests"]:
        faults += ["test-name"] * (not (isinstance(test.get("test-name"), str) and test["test-name"]))
        faults += ["passed"] * (type(test.get("passed")) is not bool)
    return faults


def function(name: str, points: int, outcome: str, **rest):
    return combine(name, points, [CaseResult(outcome=outcome, **rest)])


@pytest.fixture
def result() -> RunResult:
    one = [
        function("test_a_law", 6, "passed", measured={"size ratio": 3.2}, seconds=1.25),
        function("test_another", 4, "failed", failure=Failure(called="f(<x>)", got="\x1b[31m1\x00", think="Why?")),
    ]
    two = [
        function("test_speed", 2, "undecided", failure=Failure(summary="too slow")),
        function("test_rest", 8, "passed"),
    ]
    exercises = [
        ExerciseResult(name="ex01_a", title="A", track="core", points=10, functions=one),
        ExerciseResult(name="ex02_b", title="B", track="core", points=10, functions=two, stood_in=["ex01_a"]),
    ]
    return RunResult(submission="s", seed=5, suite="abc", sandbox="Landlock 7", exercises=exercises)


def test_gradescope_has_a_test_for_each_function_and_a_total_that_allows_for_undecided(result):
    record = json.loads(exports.gradescope(result))
    assert [(t["score"], t["max_score"], t["status"]) for t in record["tests"]] == [
        (6, 6, "passed"),
        (0, 4, "failed"),
        (0, 2, "failed"),
        (8, 8, "passed"),
    ]
    assert record["score"] == round(20 * 14 / 18, 2)
    assert record["leaderboard"] == [{"name": "size ratio", "value": 3.2, "order": "desc"}]
    assert "think     Why?" in record["tests"][1]["output"] and "reference's ex01" in record["tests"][2]["output"]
    assert record["extra_data"] == {"seed": 5, "suite": "abc", "sandbox": "Landlock 7"}
    assert record["stdout_visibility"] == "hidden" and "scaled" in record["output"]


def test_nothing_judged_is_no_points(result):
    for exercise in result.exercises:
        exercise.functions = [function("test_speed", 10, "undecided")]
    assert exports.scaled(result) == 0


def test_classroom50_has_its_fields_and_no_other(result):
    record = json.loads(exports.classroom50(result, ENVIRONMENT))
    assert list(record) == [
        *("schema", "classroom", "assignment", "assignment_type", "owner", "submission", "commit", "release", "review"),
        *("datetime", "score", "max-score", "tests"),
    ]
    assert record["schema"] == "classroom50/result/v1" and record["owner"] == "someone"
    assert (record["score"], record["max-score"]) == (14, 18)  # two points could not be judged
    assert sum(test["score"] for test in record["tests"]) == 14
    assert sum(test["max-score"] for test in record["tests"]) == 18
    assert classroom50_faults(record) == []
    assert all(set(test) == {"test-name", "passed", "score", "max-score"} for test in record["tests"])
    assert all(type(record[key]) is int for key in ("score", "max-score"))


def test_classroom50_takes_the_time_of_the_commit(result):
    result.submitted = "2026-03-04T05:06:07Z"
    now = json.loads(exports.classroom50(result, ENVIRONMENT))["datetime"]
    assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ", now) and now != result.submitted
    result.commit = "0123456789"
    assert json.loads(exports.classroom50(result, ENVIRONMENT))["datetime"] == result.submitted


def test_what_students_read_says_every_test_and_no_fence_can_be_closed(result):
    result.exercises[0].functions[1].failure.got = "1\n```\n# I passed\n````"
    text = exports.markdown(result)
    assert "### 14 of 20 points" in text and "| ex01 Another. | failed | 0 of 4 |" in text
    assert text.count("\n`````") == 2
    assert "undecided, 0 of 2: Speed." in exports.feedback(result)
    assert "      think     Why?" in exports.feedback(result)


@pytest.mark.parametrize("missing", ["CLASSROOM", "ASSIGNMENT", "SUBMISSION_TAG", "COMMIT_URL", "RELEASE_URL"])
def test_a_result_that_belongs_to_nobody_is_an_error(result, missing):
    environment = {name: value for name, value in ENVIRONMENT.items() if name != missing}
    with pytest.raises(exports.MissingIdentity, match=missing):
        exports.classroom50(result, environment)


def test_a_tag_that_is_no_submission_is_an_error(result):
    with pytest.raises(exports.MissingIdentity, match="submit/"):
        exports.classroom50(result, ENVIRONMENT | {"SUBMISSION_TAG": "v1"})


def test_junit_is_xml_whatever_was_printed(result):
    root = ET.fromstring(exports.junit(result))
    assert [suite.get("name") for suite in root] == ["ex01_a", "ex02_b"]
    assert [(suite.get("tests"), suite.get("failures"), suite.get("skipped")) for suite in root] == [
        ("2", "1", "0"),
        ("2", "0", "1"),
    ]
    assert root[0][1][0].tag == "failure" and "f(<x>)" in root[0][1][0].text


@pytest.mark.parametrize("exercise", syllabus.load(), ids=lambda e: e.short)
def test_what_is_expected_of_a_suite_is_what_it_holds(exercise):
    points = [points for _, points in grade_submission.expected(exercise.name).values()]
    assert sum(points) == exercise.points and all(points)


def test_before_anything_is_judged_there_are_no_points_and_all_tests(tmp_path):
    exercises = syllabus.load()
    blank = grade_submission.nothing(tmp_path, exercises, 1, "grading did not end", "")
    record = json.loads(exports.gradescope(blank))
    assert record["score"] == 0 and len(record["tests"]) == sum(
        len(grade_submission.expected(e.name)) for e in exercises
    )
    assert all("grading did not end" in test["output"] for test in record["tests"])


def test_a_function_that_nobody_expects_earns_nothing_and_one_that_is_missing_is_there():
    name = "ex01_round_trip"
    there = next(iter(grade_submission.expected(name)))
    functions = [function(there, 99, "passed"), function("test_of_my_own", 10, "passed")]
    exercise = ExerciseResult(name=name, title="", track="core", points=10, functions=functions)
    complete = grade_submission.complete(exercise)
    assert {f.name for f in complete.functions} == set(grade_submission.expected(name))
    assert complete.earned == grade_submission.expected(name)[there][1]
    assert all(f.kind == "not run" for f in complete.functions if f.name != there)
