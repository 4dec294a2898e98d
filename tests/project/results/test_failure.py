"""A failure as data, and the rows that every view is made of."""

from grader.results.failure import Failure, Frame, Match

MATCHES = [
    Match(name="floors", does="rounds down", think="Which way?", agree="all 9 codes agree"),
    Match(name="cuts", does="cuts the fraction off", think="Where to?"),
]
FRAMES = [Frame(file="ex01.py", line=n, text=f"line {n}") for n in (3, 5, 8)]


def test_a_wrong_result_is_told_in_the_order_in_which_it_is_read():
    failure = Failure(called="f(x)", got="1", expected="2", also=["f(y)", "f(z)"], think="Why?")
    assert failure.rows() == [
        ("called", "f(x)"),
        ("got", "1"),
        ("expected", "2"),
        ("also", "f(y)"),
        ("also", "f(z)"),
        ("think", "Why?"),
    ]
    assert failure.text().startswith("called    f(x)\ngot       1\n")
    assert failure.first_line == "called f(x)"


def test_a_known_mistake_brings_its_question_along():
    failure = Failure(called="f(x)", got="1", expected="2", think="Why?", matches=MATCHES)
    looks_like = "an answer that rounds down, or one that cuts the fraction off: all 9 codes agree"
    assert failure.rows()[-2:] == [("matches", looks_like), ("think", "Which way?")]


def test_a_crash_shows_the_line_of_the_exercise_and_the_innermost_one():
    failure = Failure(
        summary="`f` raised an error", called="f(x)", raised="KeyError: 1", frames=FRAMES, notes=["a note"]
    )
    assert failure.rows() == [
        ("", "`f` raised an error"),
        ("called", "f(x)"),
        ("raised", "KeyError: 1"),
        ("at", "ex01.py:3: line 3"),
        ("inside", "ex01.py:8: line 8"),
        ("", "a note"),
    ]


def test_a_crash_is_one_cause_whatever_was_called_and_a_wrong_result_is_not():
    crash = Failure(called="f(1)", raised="KeyError: 1", frames=FRAMES)
    assert crash.cause == Failure(called="f(2)", raised="KeyError: 2", frames=FRAMES).cause
    assert crash.cause != Failure(called="f(1)", raised="KeyError: 1", frames=FRAMES[1:]).cause
    assert Failure(called="f(1)", got="1").cause != Failure(called="f(2)", got="1").cause
