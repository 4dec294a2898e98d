"""The board as a learner reads it: one screen of 80 columns, a word for every colour, nothing but ASCII when plain."""

import re
from collections.abc import Iterator
from dataclasses import replace

import pytest

from grader.results import syllabus
from grader.results.failure import Failure, Frame, Match
from grader.results.model import CaseResult, ExerciseResult, FunctionResult, RunResult, combine
from grader.results.syllabus import Exercise
from grader.screen.board import Board, is_plain


def mistake(got: str = "code 3 ≠ √2", expected: str = "code 4, ± 0", **rest) -> Failure:
    return Failure(called="quantize(w, scale)", got=got, expected=expected, **rest)


def said(summary: str, **rest) -> Failure:
    return Failure(summary=summary, **rest)


def law(name: str, outcome: str, **rest) -> FunctionResult:
    return combine(f"test_{name}", 1, [CaseResult(outcome=outcome, **rest)])


def course(number: int = 9) -> list[Exercise]:
    return [
        Exercise(
            f"ex{n:02}_name", f"Title {n}: what this exercise is about, at length", "core", 10, (), ("a", "b", "c")
        )
        for n in range(1, number + 1)
    ]


def result_of(*functions: FunctionResult, exercises: list[Exercise], waits_for: list[str] = ()) -> RunResult:
    """The first exercise has these tests; the rest waits for it."""
    results = [
        ExerciseResult(
            name=e.name,
            title=e.title,
            track=e.track,
            points=e.points,
            functions=list(functions) if e is exercises[0] else [],
            waits_for=[] if e is exercises[0] else list(waits_for) or [exercises[0].name],
        )
        for e in exercises
    ]
    return RunResult(submission="exercises", seed=7, suite="abc", exercises=results)


@pytest.fixture
def show(capsys, monkeypatch):
    monkeypatch.setenv("COLUMNS", "80")
    monkeypatch.delenv("NO_COLOR", raising=False)

    def shown(
        result: RunResult, exercises: list[Exercise], plain: bool = False, one: bool = False, every: bool = False
    ) -> str:
        board = Board(plain)
        if one:
            board.show_one(result, exercises[0], every)
        else:
            board.show_all(result, exercises, every)
        return capsys.readouterr().out

    return shown


@pytest.mark.parametrize("plain", [False, True], ids=["boxes", "plain"])
@pytest.mark.parametrize("one", [False, True], ids=["board", "exercise"])
def test_the_longest_messages_keep_to_the_screen(show, plain, one):
    long = law("a_law_with_a_long_name " * 3, "failed", kind="wrong", failure=mistake(expected="many words " * 200))
    prints = law(
        "prints", "failed", kind="wrong", failure=mistake(), output="loud " * 1000 + "\n" + "x" * 5000 + "\n" * 400
    )
    exercises = course(14)
    text = show(result_of(long, prints, *[long] * 6, exercises=exercises), exercises, plain, one)
    assert max(map(len, text.splitlines())) <= 80
    assert one or len(text.splitlines()) <= 60
    assert not re.search(r" $", text, re.MULTILINE)


@pytest.mark.parametrize("plain", [False, True], ids=["boxes", "plain"])
def test_usual_boards_fit_on_a_screen_and_say_what_to_do(show, plain):
    exercises = course()
    wrong = law("codes_are_nearest", "failed", kind="wrong", failure=mistake(), file="exercises/ex01_name.py", line=12)
    text = show(result_of(law("passes", "passed"), wrong, wrong, exercises=exercises), exercises, plain)
    assert len(text.splitlines()) <= 40
    assert "0 of 9 core exercises" in text
    assert "1 of 90 points" in text
    assert text.count("waiting for ex01") == 8
    assert "failed: Codes are nearest" in text
    assert "exercises/ex01_name.py:12" in text
    assert "got       code 3" in text
    assert "nox -s check -- ex01" in text
    assert "nox -s check -- --hint ex01" in text
    assert "--seed 7" in text


def test_plain_is_ascii_without_boxes(show):
    exercises = course()
    wrong = law("codes_are_nearest", "failed", kind="wrong", failure=mistake(), output="\x1b[31mred ünïcode\x1b[0m\a")
    for one in (False, True):
        text = show(result_of(wrong, exercises=exercises), exercises, plain=True, one=one)
        assert text.isascii()
        assert "red unicode" in text
        assert "|" not in text
        assert "code 3 != sqrt2" in text
        assert "+/- 0" in text


@pytest.mark.parametrize("state", ["passed", "undecided", "failed", "timeout", "crashed", "error", "not started"])
def test_every_state_is_a_word(show, state):
    exercises = course(1)
    outcome, kind = ("failed", state) if state == "not started" else (state, "")
    result = result_of(law("something", outcome, kind=kind, failure=said("why")), exercises=exercises)
    for plain in (False, True):
        for one in (False, True):
            assert re.search(rf"ex01 .* {state} +\d+/10", show(result, exercises, plain, one))


def test_an_untouched_exercise_is_greeted_with_one_line(show, tmp_path):
    (tmp_path / "ex01_name.py").write_text('"""A lesson."""\n\n# TODO: begin here\n# TODO: then here\n')
    exercises = course(1)
    stub = law("something", "failed", kind="not started", failure=said("`f` is still a stub"))
    result = result_of(stub, stub, stub, exercises=exercises)
    result.submission = str(tmp_path)
    for one in (False, True):
        text = re.sub(r"[\s│]+", "", show(result, exercises, one=one))
        assert f"notstarted:open{tmp_path}/ex01_name.py:3,thefirstTODO" in text
        assert "stillastub" not in text


def test_one_cause_is_told_once(show):
    exercises = course(1)
    broken = [law(f"law_{n}", "error", kind="import", failure=said("ex01_name.py:3: invalid syntax")) for n in range(9)]
    for one in (False, True):
        assert show(result_of(*broken, exercises=exercises), exercises, one=one).count("invalid syntax") == 1


def test_an_error_told_before_is_not_left_blank(show):
    exercises = course(1)
    laws = [law(name, "failed", kind="wrong", failure=mistake()) for name in ("one", "two")]
    text = show(result_of(*laws, exercises=exercises), exercises, one=True, every=True)
    assert text.count("code 3") == 1
    assert re.search(r"Two\. +failed +0/1\n +the same as above\n", text)


def test_crashes_at_one_line_are_one_error_whatever_was_called(show):
    exercises = course(1)

    def crash(n: int, line: int) -> Failure:
        frames = [Frame(file="ex01.py", line=line, text="x")]
        return Failure(summary="`f` raised an error", called=f"f({n})", raised=f"RuntimeError: {n}", frames=frames)

    laws = [law(f"n{n}", "failed", kind="crashed", failure=crash(n, line)) for n, line in [(3, 5), (4, 5), (5, 6)]]
    text = show(result_of(*laws, exercises=exercises), exercises, one=True, every=True)
    assert text.count("the same as above") == 1
    assert "f(3)" in text and "f(4)" not in text and "f(5)" in text


def test_a_file_that_cannot_be_imported_says_why_once(show):
    exercises = course(1)
    laws = [
        law(name, "error", kind="import", failure=said("KeyError: 'x'"), file="ex01.py", case="int8") for name in "abc"
    ]
    for every in (False, True):
        text = show(result_of(*laws, exercises=exercises), exercises, one=True, every=every)
        assert text.count("KeyError") == 1 and text.count("ex01.py cannot be imported") == (3 if every else 1)
        assert "above" not in text and "int8" not in text and "--all" not in text


def test_the_failing_case_is_never_cut_off(show):
    exercises = course(1)
    wrong = law(
        "a_law_whose_name_is_so_long_that_it_fills_the_line", "failed", kind="wrong", failure=mistake(), case="K=2"
    )
    assert re.search(
        r"^ +case +K=2$", show(result_of(wrong, exercises=exercises), exercises, one=True, every=True), re.MULTILINE
    )


@pytest.mark.parametrize("length", range(6, 30))
def test_a_figure_and_its_name_stay_together(show, length):
    exercises = course(1)
    figures = {f"{letter * length} of {letter}": 1.5 for letter in "abcde"}
    text = show(result_of(law("passes", "passed", measured=figures), exercises=exercises), exercises, one=True)
    assert all(f"{name} 1.5" in text for name in figures)
    assert max(map(len, text.splitlines())) <= 80


def test_a_finished_exercise_says_where_to_go(show):
    exercises = course(1)
    result = result_of(law("passes", "passed"), exercises=exercises)
    text = show(result, exercises, one=True)
    assert ".venv/bin/python -m exercises.ex01_name" in text
    assert re.search(r"^   nox +what comes next$", text, re.MULTILINE)
    result.submission = "a class/anna"
    text = show(result, exercises, one=True)
    assert "python -m" not in text
    assert "nox -s check -- --submission 'a class/anna'   what comes next" in text


def test_a_finished_exercise_says_what_to_look_at(show):
    exercises = [replace(exercise, afterwards="Look at the curve, and try 3 bits.") for exercise in course(1)]
    text = show(result_of(law("passes", "passed"), exercises=exercises), exercises, one=True)
    assert "Look at the curve, and try 3 bits." in text
    wrong = law("fails", "failed", kind="wrong", failure=mistake())
    assert "Look at the curve" not in show(result_of(wrong, exercises=exercises), exercises, one=True)


def test_a_finished_board_says_what_to_try(show):
    exercises = course(2)
    result = result_of(law("passes", "passed"), exercises=exercises[:1])
    assert "nox -s generate" in show(result, exercises[:1])
    result.submission = "a class/anna"
    assert "nox -s generate" not in show(result, exercises[:1])


def test_what_a_failed_test_measured_is_no_figure(show):
    exercises = course(1)
    wrong = law("fast", "failed", kind="wrong", failure=mistake(), measured={"speedup": 0.5})
    result = result_of(law("small", "passed", measured={"size ratio": 3.2}), wrong, exercises=exercises)
    for one in (False, True):
        text = show(result, exercises, one=one)
        assert "measured: size ratio 3.20x\n" in text


def test_a_broken_installation_is_told_first_and_once(show):
    exercises = course(2)
    missing = [law(f"law_{n}", "error", kind="environment", failure=said("no checkpoint here")) for n in range(9)]
    for one in (False, True):
        text = show(result_of(*missing, exercises=exercises), exercises, one=one)
        assert text.count("no checkpoint here") == 1
        assert text.index("no checkpoint here") < text.index("ex01")
        assert "--hint" not in text


def test_measured_figures_stand_in_one_line(show):
    exercises = course(1)
    figures = {"drift": 0.000213, "speedup": 2.9, "size ratio": 3.2149, "error at 4 bits": 0.0701}
    result = result_of(law("something", "passed", measured=figures), exercises=exercises)
    assert "measured: size ratio 3.21x · speedup 2.90x · drift +0.02 %\n" in show(result, exercises)
    assert "error at 4 bits 0.0701" in " ".join(show(result, exercises, one=True).split())


def test_what_is_undecided_says_why(show):
    exercises = course(1)
    result = result_of(
        law("fine", "passed"), law("fast", "undecided", failure=said("no int8 here")), exercises=exercises
    )
    text = show(result, exercises)
    assert "undecided: ex01, Fast: no int8 here" in text
    assert "Well done" in text


def test_brackets_of_a_message_are_not_markup(show):
    exercises = course(1)
    wrong = law("something", "failed", kind="wrong", failure=said("got [bold]x[/bold] at [0, 1] :smile:"))
    assert "got [bold]x[/bold] at [0, 1] :smile:" in show(result_of(wrong, exercises=exercises), exercises)


def test_commands_name_another_submission(show):
    exercises = course(1)
    result = result_of(law("something", "failed", kind="wrong", failure=said("no")), exercises=exercises)
    result.submission = "my solutions"
    assert "nox -s check -- ex01 --submission 'my solutions'" in show(result, exercises)


@pytest.mark.parametrize(
    "name, value, plain",
    [("NO_COLOR", "1", True), ("NO_COLOR", "", False), ("TERM", "dumb", True), ("TERM", "xterm-256color", False)],
)
def test_when_the_board_is_plain(monkeypatch, name, value, plain):
    monkeypatch.delenv("NO_COLOR", raising=False)
    monkeypatch.setenv("TERM", "xterm")
    monkeypatch.setenv(name, value)
    assert is_plain(False) == plain
    assert is_plain(True)


def test_the_real_syllabus_fits_the_screen(show):
    exercises = syllabus.load()
    text = show(result_of(law("something", "passed"), exercises=exercises), exercises)
    assert max(map(len, text.splitlines())) <= 80
    assert len(text.splitlines()) <= 30


def test_a_known_mistake_is_told_once_and_other_failures_keep_their_question(show):
    match = Match(name="floors", does="rounds down", think="Which way?", agree="all 9 codes agree")
    known = {"outcome": "failed", "kind": "wrong"}
    first = law("one", failure=mistake(matches=[match]), **known)
    second = law("two", failure=mistake("code 5", matches=[match]), **known)
    third = law("three", outcome="failed", kind="wrong", failure=mistake("code 7", think="And here?"))
    out = show(result_of(first, second, third, exercises=course()), course(), one=True, every=True)
    assert out.count("rounds down") == out.count("Which way?") == out.count("And here?") == 1
    assert out.index("code 3") < out.index("rounds down") < out.index("code 5") < out.index("And here?")


def test_a_law_that_is_broken_for_the_same_cause_takes_one_line(show):
    cases = [
        CaseResult(outcome="failed", kind="wrong", case=f"Law {name}.", failure=mistake(f"code {code}"))
        for name, code in (("one", 3), ("two", 3), ("three", 3), ("four", 4))
    ]
    exercises = course(1)
    result = result_of(combine("test_laws", 1, cases, "All laws."), exercises=exercises)
    lines = [" ".join(line.split()) for line in show(result, exercises, one=True, every=True).splitlines()]
    told = lines.index("✗ Law two. as above")
    assert lines[told + 1] == "✗ Law three. as above" and "✗ Law one. failed" in lines[:told]
    lines = [" ".join(line.split()) for line in show(result, exercises, one=True).splitlines()]
    assert {"✗ Law one. failed", "✗ Law two. same cause", "✗ Law three. same cause", "✗ Law four. failed"} <= {*lines}


def test_laws_that_are_all_broken_for_the_cause_of_the_first_failure_have_no_lines(show):
    first = law("one", "failed", kind="wrong", failure=mistake())
    cases = [CaseResult(outcome="failed", kind="wrong", case=f"Law {n}.", failure=mistake()) for n in range(3)]
    laws = combine("test_laws", 1, cases, "All laws.")
    text = show(result_of(first, laws, exercises=course(1)), course(1), one=True)
    assert re.search(r"All laws\. +same cause +0/1", text) and "Law 1" not in text


def test_a_question_is_asked_once(show):
    """A diagnosis may have had no time: then the suite's own question says that it is the same mistake."""
    known = {"outcome": "failed", "kind": "wrong"}
    first = law("one", failure=mistake("code 3", think="Which axis?"), **known)
    second = law("two", failure=mistake("code 5", think="Which axis?"), **known)
    third = law("three", failure=mistake("code 7", think="And here?"), **known)
    out = show(result_of(first, second, third, exercises=course()), course(), one=True, every=True)
    assert out.count("Which axis?") == out.count("And here?") == 1
    assert "code 3" in out and "code 5" in out and "code 7" in out


def test_each_broken_law_of_a_function_has_a_line_of_its_own(show):
    exercises = course(1)
    cases = [
        CaseResult(outcome="passed", case="Zeros stay zero."),
        CaseResult(outcome="failed", kind="wrong", case="Bad input is refused.", failure=mistake("code 5")),
        CaseResult(outcome="failed", kind="wrong", case="Your input stays as it was.", failure=mistake("code 7")),
    ]
    shared = combine("test_edges", 1, cases, "Edge cases are right.")
    text = show(result_of(shared, exercises=exercises), exercises, one=True, every=True)
    lines = [line.split("  ")[0].strip(" ✗") for line in text.splitlines()]
    order = ["Edge cases are right.", "Bad input is refused.", "Your input stays as it was."]
    assert [line for line in text.splitlines() if "Zeros stay zero" in line] == []
    assert [
        name for name in (re.sub(r"^ +. +", "", row).split("  ")[0] for row in text.splitlines()) if name in order
    ] == order
    assert lines and text.count("code 5") == text.count("code 7") == 1
    assert len(re.findall(r"\d/1\b", text)) == 1  # the points are the function's


@pytest.mark.parametrize("plain", [False, True], ids=["boxes", "plain"])
def test_a_title_is_never_cut(show, plain):
    exercises = course(1)
    title = "The error of a whole matrix is the root mean square over its rows, whatever the number of bits in a code."
    for one in (False, True):
        shared = combine("test_x", 1, [CaseResult(outcome="failed", kind="wrong", failure=mistake())], title)
        text = show(result_of(shared, exercises=exercises), exercises, plain, one)
        words = " ".join(re.sub(r"[│|]", " ", text).split())
        # the state and the points stand between the lines of a title that needs two
        assert re.sub(r" failed 0/1", "", words).count("whatever the number of bits") == 1 or title in words
        assert "…" not in text


def many_mistakes() -> Iterator[FunctionResult]:
    """Ten tests in a row with other mistakes, each as long as messages get."""
    failure = {
        "think": "many words to think about " * 8,
        "expected": "an expected value " * 12,
        "got": "got words " * 20,
    }
    for n in range(10):
        failed = Failure(called=f"quantize(w, scale, {n}), w of a kind that takes many words to name", **failure)
        yield law(f"number_{n}_of_ten", "failed", kind="wrong", failure=failed, file="exercises/ex01_name.py", line=12)


@pytest.mark.parametrize("plain", [False, True], ids=["boxes", "plain"])
@pytest.mark.parametrize("one", [False, True], ids=["board", "exercise"])
def test_the_first_failure_is_whole_on_the_last_screen(show, plain, one):
    """80 x 40, of which the last line is the shell's: the first failure, from its title to the line to edit."""
    exercises = course(14)
    lines = show(result_of(*many_mistakes(), exercises=exercises), exercises, plain, one).splitlines()
    screen = "\n".join(lines[-39:])
    assert "failed: Number 0 of ten" in screen
    for label in (
        "called    quantize(w, scale, 0)",
        "got  ",
        "expected",
        "think",
        "edit      exercises/ex01_name.py:12",
    ):
        assert label in screen
    assert "quantize(w, scale, 1)" not in screen  # others have a line each


def test_all_failures_are_shown_in_full_where_that_is_asked(show):
    exercises = course(2)
    for one in (False, True):
        short = show(result_of(*many_mistakes(), exercises=exercises), exercises, one=one)
        full = show(result_of(*many_mistakes(), exercises=exercises), exercises, one=one, every=True)
        assert all(f"quantize(w, scale, {n})" in full for n in range(10))
        assert ("nox -s check -- ex01 --all" in short) == one and "--all" not in full


def test_a_failure_with_the_cause_of_the_first_is_named_so(show):
    match = Match(name="floors", does="rounds down", think="Which way?", agree="all 9 codes agree")
    known = {"outcome": "failed", "kind": "wrong"}
    first = law("one", failure=mistake(matches=[match]), **known)
    second = law("two", failure=mistake("code 5", matches=[match]), **known)
    third = law("three", failure=mistake("code 7"), **known)
    text = show(result_of(first, second, third, exercises=course(1)), course(1), one=True)
    assert re.search(r"One\. +failed +0/1", text) and re.search(r"Three\. +failed +0/1", text)
    assert re.search(r"Two\. +same cause +0/1", text)


def test_what_was_not_run_says_why_once(show):
    skipped = {"kind": "not run", "failure": said("a slow test is not run while a quick one fails: add --all")}
    wrong = law("quick", "failed", kind="wrong", failure=mistake())
    functions = [wrong, law("slow", "failed", **skipped), law("slower", "failed", **skipped)]
    text = show(result_of(*functions, exercises=course(1)), course(1), one=True)
    assert text.count("add --all") == 1 and len(re.findall("not run +0/1", text)) == 2
    assert "nox -s check -- ex01 --all" in text


def test_what_passed_before_an_earlier_exercise_broke_is_said_to_have(show):
    exercises = course(4)
    wrong = law("broken", "failed", kind="wrong", failure=mistake())
    result = result_of(wrong, exercises=exercises)
    assert "Passed before" not in show(result, exercises)
    result.exercises[1].passed_before = True
    assert "Passed before, with the same code: ex02. A waiting exercise" in show(result, exercises)
    result.exercises[3].passed_before = True
    assert "Passed before, with the same code: ex02, ex04. A waiting" in show(result, exercises)
