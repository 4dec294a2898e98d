"""The autograder that `nox -s hostile` compares with is one: it gives an honest submission what it earned."""

import pytest

from tests.project import side_by_side
from tests.project.side_by_side import Row


@pytest.mark.whole
@pytest.mark.timeout(240)
def test_an_autograder_of_the_usual_kind_grades_an_honest_submission():
    assert side_by_side.there("correct") == {"by_exit_code": 10, "by_xml": 10}


def test_what_was_not_earned_is_bold_and_counted():
    rows = [Row("a_b", "cheats", 0, 10, 10, 0), Row("c", "is lost", 4, 0, None, 4)]
    assert rows[0].cells == ["a b", "cheats", "0", "**10**", "**10**", "0"]
    assert rows[1].cells == ["c", "is lost", "4", "0", "none", "4"]
    said = side_by_side.summary(rows)
    assert said.startswith("Of 2 submissions 1 get credit that they did not earn by pytest's exit code, 1 by its XML, ")
    assert said.endswith("1 by one of them, and 0 here; 1 leave that autograder without any result.")
