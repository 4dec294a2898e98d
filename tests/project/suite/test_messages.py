"""What a suite says about bad input that was accepted, and about good input that was refused (tests/messages.py)."""

import pytest

from tests.messages import check_value_errors


def test_bad_input_that_was_accepted_is_listed_and_the_first_is_the_last_call(student_of):
    student = student_of("def f(n):\n    if n: raise ValueError\ndef g(n): pass")
    calls = {f"{name}({n})": lambda name=name, n=n: getattr(student, name)(n) for name in "fg" for n in (0, 1)}
    with pytest.raises(AssertionError) as caught:
        check_value_errors(calls, {})
    assert "called    f(0)\n" in str(caught.value)
    assert str(caught.value).endswith("also      g(0)\nalso      g(1)")
    assert student.location()[1] == 1
    check_value_errors({"f(1)": calls["f(1)"]}, {"f(0)": calls["f(0)"]})


def test_to_refuse_good_input_as_well_is_no_check(student_of):
    student = student_of("def f(n):\n    raise ValueError")
    with pytest.raises(AssertionError, match="called    f\\(0\\)\ngot       a ValueError\nexpected  a result"):
        check_value_errors({"f(1)": lambda: student.f(1)}, {"f(0)": lambda: student.f(0)})
