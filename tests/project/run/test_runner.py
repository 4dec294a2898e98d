"""Deadlines, replaced children and diagnoses: what one test does costs that test, and no verdict waits for ever."""

import os
import signal
import threading
import time
from pathlib import Path

import pytest

from grader.results.failure import Match
from grader.run import runner, suite_process
from tests.project.run.conftest import functions_of, states_of

ALL_PASSED = dict.fromkeys(["one", "one_again", "two", "three"], "passed")
ENDLESS = "while True:\n        try: pass\n        except BaseException: pass\n"


@pytest.fixture
def children(monkeypatch):
    """The children that are started, one after the other."""
    started = []

    class Noted(suite_process.Child):
        def __init__(self, *arguments):
            super().__init__(*arguments)
            started.append(self)

    monkeypatch.setattr(suite_process, "Child", Noted)
    return started


def until(condition, seconds: float = 60) -> None:
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end
        time.sleep(0.01)


# ---- deadlines -------------------------------------------------------------------------------------------------------


@pytest.mark.timeout(120)
def test_an_endless_loop_is_cut_off_by_its_processor_time(small, monkeypatch):
    monkeypatch.setattr(runner, "TEST_SECONDS", 1)
    monkeypatch.setattr(runner, "BUSY", 40)  # the clock has no say, however busy this machine is
    result = small.run(f"def three(n):\n    {ENDLESS}")
    assert states_of(result) == ALL_PASSED | {"three": "timeout"}
    three = functions_of(result)["three"]
    assert three.failure.summary == "`three` did not finish within 1 s of processor time"
    assert three.failure.think == "Is there a loop that never ends?"
    assert three.file.endswith("answers/ex01_small.py")
    assert Path(three.file).read_text().splitlines()[three.line - 1].strip() in ENDLESS
    assert (result.earned, result.state) == (3, "timeout")


@pytest.mark.timeout(120)
def test_a_test_that_waits_is_cut_off_by_the_clock_at_four_times_its_seconds(small, monkeypatch):
    monkeypatch.setattr(runner, "TEST_SECONDS", 0.5)
    result = small.run("import time\ndef three(n):\n    time.sleep(60)\n")
    three = functions_of(result)["three"]
    assert three.failure.summary == "`three` did not finish within 2 s, most of which it waited"
    assert three.outcome == "timeout" and 2 <= three.seconds < 10
    assert states_of(result) == ALL_PASSED | {"three": "timeout"}


@pytest.mark.timeout(120)
def test_a_busy_machine_costs_no_test(small, monkeypatch, tmp_path):
    """A child that gets no processor for longer than its deadline, but not for four times as long, has its time yet."""
    monkeypatch.setattr(runner, "TEST_SECONDS", 3)
    began, goes_on = tmp_path / "began", tmp_path / "goes on"

    def keep_busy() -> None:
        until(lambda: began.exists() and began.read_text())
        child = int(began.read_text())
        os.kill(child, signal.SIGSTOP)
        time.sleep(4)
        goes_on.touch()
        os.kill(child, signal.SIGCONT)

    thread = threading.Thread(target=keep_busy)
    thread.start()
    result = small.run(
        f"""
        import os, time
        def three(n):
            with open({str(began)!r}, "w") as file:
                file.write(str(os.getpid()))
            while not os.path.exists({str(goes_on)!r}):
                time.sleep(0.01)
            return n ** 3
        """
    )
    thread.join()
    assert states_of(result) == ALL_PASSED
    assert functions_of(result)["three"].seconds >= 4


@pytest.mark.timeout(120)
def test_processor_time_is_that_of_each_test(small, monkeypatch):
    """Four tests that take 0.8 s each have not taken 3.2 s of the two seconds that a test has."""
    monkeypatch.setattr(runner, "TEST_SECONDS", 2)
    monkeypatch.setattr(runner, "BUSY", 40)
    source = """
        import time
        def busy():
            end = time.process_time() + 0.8
            while time.process_time() < end: pass
        def one(n):
            busy()
            return n + 1
        def two(n):
            busy()
            return 2 * n
    """
    assert states_of(small.run(source)) == ALL_PASSED


@pytest.mark.timeout(120)
def test_a_whole_exercise_has_a_deadline_as_well(small, monkeypatch):
    monkeypatch.setattr(runner, "EXERCISE_SECONDS", 8)  # the child's imports take some of them
    result = small.run(f"def two(n):\n    {ENDLESS}")
    two, three = (functions_of(result)[name] for name in ("two", "three"))
    assert two.failure.summary == "all of this exercise's tests did not finish within 8 s of processor time"
    assert (three.outcome, three.state) == ("timeout", "not run")
    assert three.reason == "not run: an earlier test did not finish"


# ---- replaced children -----------------------------------------------------------------------------------------------


@pytest.mark.timeout(120)
@pytest.mark.parametrize(
    "ends, says",
    [
        pytest.param("__import__('os')._exit(3)", "the Python interpreter was closed with exit code 3", id="os._exit"),
        pytest.param("__import__('pytest').exit('enough')", "the test run was stopped from inside", id="pytest.exit"),
        pytest.param(
            "__import__('ctypes').string_at(0)",
            "the Python interpreter crashed with a segmentation fault",
            id="segmentation fault",
            marks=pytest.mark.whole,
        ),
    ],
)
def test_after_a_loss_the_other_tests_run_once_each(small, tmp_path, children, ends, says):
    log = tmp_path / "log"
    result = small.run(
        f"""
        def note(*called):
            with open({str(log)!r}, "a") as file:
                print(*called, file=file)
        def one(n):
            note("one", n)
            return n + 1
        def two(n):
            note("two", n)
            return {ends}
        def three(n):
            note("three", n)
            return n ** 3
        """
    )
    assert states_of(result) == ALL_PASSED | {"two": "crashed"}
    assert functions_of(result)["two"].failure.summary == says
    assert sorted(log.read_text().splitlines()) == ["one 3", "one 7", "three 2", "two 1"]  # not two(2): it is the same
    assert len(children) == 2


@pytest.mark.timeout(120)
def test_the_case_that_was_lost_is_named(small):
    result = small.run("def two(n):\n    return 2 * n if n == 1 else __import__('os')._exit(3)\n")
    two = functions_of(result)["two"]
    assert (two.case, two.failure.case, two.outcome) == ("n=2", "n=2", "crashed")


@pytest.mark.timeout(120)
def test_two_losses_in_the_same_function_end_the_suite(small, monkeypatch, children):
    monkeypatch.setattr(runner, "TEST_SECONDS", 1)
    result = small.run(f"def one(n):\n    {ENDLESS}")
    assert states_of(result) == {"one": "timeout", "one_again": "timeout", "two": "not run", "three": "not run"}
    assert functions_of(result)["three"].failure.summary == "not run: an earlier test did not finish"
    assert (result.earned, result.state) == (0, "timeout")
    assert len(children) == 2


@pytest.mark.whole
@pytest.mark.timeout(120)
def test_two_losses_in_two_functions_do_not(small, monkeypatch):
    monkeypatch.setattr(runner, "TEST_SECONDS", 1)
    result = small.run(f"def one(n):\n    if n == 7: return 8\n    {ENDLESS}\ndef two(n):\n    {ENDLESS}")
    assert states_of(result) == {"one": "timeout", "one_again": "passed", "two": "timeout", "three": "passed"}


@pytest.mark.timeout(120)
def test_a_suite_that_does_not_load_is_a_problem_of_the_installation(small):
    (small.root / "tests" / "test_ex01_small.py").write_text("import nothing_of_the_sort\n")
    result = small.run("")
    assert (result.state, result.functions) == ("error", [])
    assert (
        result.problem.startswith("tests/test_ex01_small.py does not load: ")
        and "nothing_of_the_sort" in result.problem
    )


# ---- diagnoses -------------------------------------------------------------------------------------------------------

ADDS_TWO = """
'''Adds two. How many should it be?'''
# caught by: test_one
def one(n): return n + 2
def two(n): return 2 * n
def three(n): return n ** 3
"""
ADDS_TWO_MATCH = Match(name="adds_two", does="adds two", think="How many should it be?")
NEVER_ENDS = f"""
'''Waits for ever. For what?'''
# caught by: test_three
def one(n): return n + 1
def two(n): return 2 * n
def three(n):
    {ENDLESS}
"""


@pytest.fixture
def diagnosed(monkeypatch):
    """What each diagnosis took by the clock, once its child was ready: a small suite is over before that."""
    took, diagnose = [], runner._Suite._diagnose

    def timed(suite):
        suite.children.prepare()
        suite.children.settle()
        began = time.monotonic()
        diagnose(suite)
        took.append(time.monotonic() - began)

    monkeypatch.setattr(runner._Suite, "_diagnose", timed)
    return took


@pytest.mark.timeout(120)
def test_where_all_passes_there_is_one_child_and_no_diagnosis(small, children, diagnosed):
    small.misconception("adds_two", ADDS_TWO)
    assert states_of(small.run("")) == ALL_PASSED
    assert (len(children), diagnosed) == (1, [])


@pytest.mark.timeout(120)
def test_a_failure_is_compared_in_a_second_child(small, children, diagnosed, tmp_path):
    """The learner's file is imported once, and what it does to the process that it is in, no diagnosis notices."""
    note = tmp_path / "note"
    monkeys = "import time, pytest, tempfile\ntime.thread_time = pytest.fail = tempfile.TemporaryDirectory = None\n"
    small.misconception("adds_two", ADDS_TWO)
    imported = f"import os\nprint(os.getpid(), file=open({str(note)!r}, 'a'))\n"
    result = small.run(f"{imported}{monkeys}def one(n): return n + 2\n")
    assert states_of(result) == ALL_PASSED | {"one": "failed", "one_again": "failed"}
    assert [f.failure.matches for name, f in functions_of(result).items() if "one" in name] == [[ADDS_TWO_MATCH]] * 2
    assert len(children) == 2 and note.read_text() == f"{children[0]._process.pid}\n"


@pytest.mark.timeout(120)
def test_an_endless_wrong_answer_costs_two_seconds_and_nothing_that_was_found_before(small, diagnosed):
    small.misconception("adds_two", ADDS_TWO)
    small.misconception("never_ends", NEVER_ENDS)
    result = small.run("def one(n): return n + 2\ndef three(n): return 3 * n\n")
    assert states_of(result) == {"one": "failed", "one_again": "failed", "two": "passed", "three": "failed"}
    assert functions_of(result)["one"].misconceptions == ["adds_two"]
    assert functions_of(result)["three"].misconceptions == []
    (seconds,) = diagnosed
    assert seconds < runner.DIAGNOSIS_SECONDS + 1


@pytest.mark.timeout(120)
def test_a_wrong_answer_that_ends_its_process_costs_nothing_that_was_found_before(small, diagnosed):
    small.misconception("adds_two", ADDS_TWO)
    small.misconception("exits", NEVER_ENDS.replace(ENDLESS, "__import__('os')._exit(3)"))
    result = small.run("def one(n): return n + 2\ndef three(n): return 3 * n\n")
    assert functions_of(result)["one"].misconceptions == ["adds_two"]
    assert (functions_of(result)["three"].outcome, functions_of(result)["three"].misconceptions) == ("failed", [])


@pytest.mark.timeout(120)
def test_a_wrong_answer_that_changes_settings_does_not_change_what_the_next_one_does(small, diagnosed):
    """Known mistakes run one after the other in one process."""
    suite = small.root / "tests" / "test_ex01_small.py"
    asks, changed = "student.three(2)", "student.three(2) + int(torch.is_grad_enabled())"
    suite.write_text(f"import torch\n{suite.read_text()}".replace(asks, changed))
    small.misconception("a_settings", NEVER_ENDS.replace(ENDLESS, "__import__('torch').set_grad_enabled(False)"))
    small.misconception("squares", NEVER_ENDS.replace(ENDLESS, "return n * n"))
    assert functions_of(small.run("def three(n): return n * n\n"))["three"].misconceptions == ["squares"]


@pytest.mark.whole
@pytest.mark.timeout(120)
def test_time_may_run_out_anywhere(small, monkeypatch):
    """Whenever the child is ended, every test has the outcome that it had, and matches are those of a longer look."""
    small.misconception("adds_two", ADDS_TWO)
    small.misconception("trebles", NEVER_ENDS.replace(ENDLESS, "return 3 * n"))
    looks, diagnose = [], runner._Suite._diagnose

    def repeatedly(suite):
        for seconds in (0.0, 0.02, 0.1, 0.3, 30.0):
            monkeypatch.setattr(runner, "DIAGNOSIS_SECONDS", seconds)
            for case in suite.cases.values():
                if case.failure:
                    case.failure.matches = []
            suite.children.prepare()
            suite.children.settle()
            diagnose(suite)
            looks.append({id_: (case.outcome, case.misconceptions) for id_, case in suite.cases.items()})

    monkeypatch.setattr(runner._Suite, "_diagnose", repeatedly)
    small.run("def one(n): return n + 2\ndef three(n): return 3 * n\n")
    *shorter, longest = looks
    assert [longest[f"tests/test_ex01_small.py::test_{name}"] for name in ("one", "three")] == [
        ("failed", ["adds_two"]),
        ("failed", ["trebles"]),
    ]
    for look in shorter:
        assert {id_: outcome for id_, (outcome, _) in look.items()} == {id_: o for id_, (o, _) in longest.items()}
        assert all(matches in ([], longest[id_][1]) for id_, (_, matches) in look.items())


# ---- slow tests, and how far they are --------------------------------------------------------------------------------

SLOW_SUITE = """
import pytest
from tests.messages import fail

@pytest.mark.points(1)
@pytest.mark.slow("two")
def test_one(student, rng, progress):
    for k in range(3):
        progress(f"part {k + 1} of 3")
    if (got := student.two(3)) != 6:
        fail("two(3)", got, 6)

@pytest.mark.points(1)
def test_two(student, rng):
    if (got := student.two(1)) != 2:
        fail("two(1)", got, 2)

@pytest.mark.points(1)
def test_three(student, rng):
    if (got := student.three(2)) != 8:
        fail("three(2)", got, 8)
"""


class Told:
    def __init__(self):
        self.tests, self.parts = [], []

    def testing(self, exercise, test, done, total):
        self.tests.append(test)

    def within(self, part):
        self.parts.append(part)

    def finished(self, *_): ...


@pytest.mark.timeout(120)
def test_a_slow_test_comes_last_and_not_at_all_while_a_quick_one_of_its_function_fails(small):
    (small.root / "tests" / "test_ex01_small.py").write_text(SLOW_SUITE)
    wrong_two, wrong_three = "def two(n): return 0\n", "def three(n): return 0\n"
    told = Told()
    result = small.run("", progress=told, quick_first=True)
    assert states_of(result) == dict.fromkeys(["one", "two", "three"], "passed")
    assert [test.lower() for test in told.tests] == ["two.", "three.", "one."] and told.parts[-1] == "part 3 of 3"
    result = small.run(wrong_three, quick_first=True)
    assert states_of(result) == {"one": "passed", "two": "passed", "three": "failed"}
    told = Told()
    result = small.run(wrong_two, progress=told, quick_first=True)
    assert states_of(result) == {"one": "not run", "two": "failed", "three": "passed"} and not told.parts
    assert "--all" in functions_of(result)["one"].reason and (result.earned, result.state) == (1, "failed")
    result = small.run(wrong_two)
    assert states_of(result) == {"one": "failed", "two": "failed", "three": "passed"}
    result = small.run("def two(n): raise NotImplementedError\n", quick_first=True)
    assert states_of(result) == {"one": "not started", "two": "not started", "three": "passed"}
