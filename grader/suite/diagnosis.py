"""Which known mistake a failed test looks like, found by making the mistake.

tests/misconceptions/ (in a class's copy tests/misconceptions.zip) holds wrong answers that people really give. Once a
suite is over, a second process runs each failed test again, with the same inputs, over those of its exercise: each in
the place of the learner's file. One matches when the same check fails with the same words, and when every value that
the test got until then is the learner's. A right value cannot match: where a wrong answer returns what is right, it
does not fail. The parent keeps the time: it ends this process, and what was told until then counts.
"""

import ast
import itertools
import re
import tempfile
import time
import zipfile
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor

from grader.results.failure import Match
from grader.results.paths import ROOT, TESTS
from grader.suite import load_exercise
from grader.suite.local_student import LocalStudent
from grader.suite.observation import Observation
from grader.suite.plugin import INPUTS, OPEN_STUDENT, TEST_ID

CONTROLS = 6  # wrong answers to something else, most of them right here: where two fail alike, it is not the answer
MOST_NAMED = 2  # mistakes that look alike; what looks like more of them is no diagnosis
CAUGHT_BY = re.compile(r"^# caught by: (test_\w+)$", re.MULTILINE)
ANSWER = re.compile(r"(?:\[|-)answer\d+\]$")  # the end of an item's id that says which answer it runs
NOT_NEEDED = [  # of pytest's plugins: the last two collect garbage for a quarter of a second
    *("terminal", "cacheprovider", "faulthandler", "timeout", "junitxml", "pastebin", "warnings"),
    *("unraisableexception", "threadexception"),
]


@dataclass(frozen=True)
class Misconception:
    """A wrong answer to one exercise: its file's text, and what that says to a learner."""

    name: str
    text: str

    @property
    def lesson(self) -> tuple[str, str]:
        """What it does, "rounds down" for instance, and what to think about."""
        does, _, think = " ".join(ast.get_docstring(ast.parse(self.text)).split()).partition(". ")
        return does[:1].lower() + does[1:], think

    @property
    def caught_by(self) -> str:
        return CAUGHT_BY.search(self.text)[1]


@cache
def misconceptions(exercise: str) -> tuple[Misconception, ...]:
    """Those of an exercise, in alphabetical order; none where there is neither folder nor zip."""
    folder, archive = TESTS / "misconceptions" / exercise, TESTS / "misconceptions.zip"
    if folder.is_dir():
        return tuple(Misconception(file.stem, file.read_text()) for file in sorted(folder.glob("*.py")))
    if not archive.is_file():
        return ()
    with zipfile.ZipFile(archive) as inside:
        names = sorted(name for name in inside.namelist() if name.startswith(f"{exercise}/") and name.endswith(".py"))
        return tuple(Misconception(Path(name).stem, inside.read(name).decode()) for name in names)


@dataclass(frozen=True)
class FailedTest:
    """A test to look at: the first case of its function that failed.

    seconds: that it took
    passed:  the ids of the other cases of the function that passed
    """

    id: str
    function: str
    observation: Observation
    seconds: float
    passed: tuple[str, ...] = ()


def diagnose(
    exercise: str,
    failed: Sequence[FailedTest],
    passed_functions: set[str],
    among: Path,
    seed: int,
    seconds: float,
    tell: Callable[[str, list[Match]], None],
) -> None:
    """Tells of each failed test, as soon as it is found, which known mistakes it looks like.

    passed_functions: the test functions of which no case failed
    among:            the folder whose other exercises a wrong answer is put among
    seconds:          of this thread's processor time, after which nothing more is tried
    """
    failed = [test for test in failed if not test.observation.is_about_nothing]
    known = misconceptions(exercise)
    # a mistake that a test stands for is not made where that test has passed
    possible = [m for m in known if m.caught_by not in passed_functions]
    impossible = [m for m in known if m not in possible]
    if not failed or not possible:
        return
    search = _Search(failed, possible, impossible, among, exercise, seconds, tell)
    suite = f"tests/test_{exercise}.py"
    options = [f"--submission={among}", f"--seed={seed}", f"--rootdir={ROOT}", "--override-ini=addopts="]
    options += ["--capture=no", "--disable-plugin-autoload", *(f"-pno:{name}" for name in NOT_NEEDED)]
    with load_exercise.standing_in(exercise, among) as put:
        search.put = put
        pytest.main([*(f"{ROOT / suite}::{test.function}" for test in failed), *options], plugins=[search])


class _Search:
    """The plugin of that run: every failed test, over one answer after the other, the likeliest first."""

    def __init__(self, failed, possible, impossible, among, exercise, seconds, tell):
        self.failed, self.possible, self.impossible = failed, possible, impossible
        self.among, self.exercise, self.tell = among, exercise, tell
        self.put: Callable[[Path], None]
        self._left = seconds
        self._settings = _settings()
        self._matched: Counter[str] = Counter()  # misconceptions found before, which are likely again
        self._items: dict[tuple[str, str], pytest.Item] = {}  # by test and answer
        self._seen: dict[tuple[str, str], Observation | None] = {}  # what came of them
        self._outcome: Observation | None = None

    # ---- hooks -------------------------------------------------------------------------------------------------------

    def pytest_configure(self, config):
        folder = tempfile.TemporaryDirectory(prefix="kata-")
        config.add_cleanup(folder.cleanup)

        def open_answer(submission: Path, exercise: str, request) -> LocalStudent:
            file = Path(folder.name, f"{request.param.name}.py")
            file.write_text(request.param.text)
            self.put(file)
            return LocalStudent(submission, exercise)

        config.stash[OPEN_STUDENT] = open_answer

    @pytest.hookimpl(trylast=True)
    def pytest_generate_tests(self, metafunc):
        """Every case of a test once for each answer that may be tried."""
        if "student" in metafunc.fixturenames:
            answers = [*self.possible, *_of_each_kind(self.impossible)[:CONTROLS]]
            ids = [f"answer{k}" for k in range(len(answers))]
            metafunc.parametrize("student", answers, ids=ids, indirect=True, scope="module")

    def pytest_collection_modifyitems(self, items):
        inputs = {test.id: test.observation.inputs for test in self.failed}
        for item in items:
            if hasattr(item, "callspec") and "student" in item.callspec.params:
                whole = item.nodeid
                found = ANSWER.search(whole)
                ends = "]" if found[0].startswith("-") else ""
                test = whole[: found.start()] + ends
                item.stash[TEST_ID] = test
                item.repr_failure = lambda excinfo: ""  # nobody reads it, and it takes longer than most tests
                if inputs.get(test):
                    item.stash[INPUTS] = inputs[test]
                self._items[test, item.callspec.params["student"].name] = item

    def pytest_runtestloop(self, session):
        found: dict[str, tuple[FailedTest, list[Misconception]]] = {}
        for test in self.failed:
            if matches := self._matching(test):
                found[test.id] = test, self._likeliest_first(test, matches)
                self._matched += Counter(m.name for m in matches)
                self._tell(*found[test.id])
        for test, matches in found.values():  # what was found later may say which of two it is
            if (ordered := self._likeliest_first(test, matches)) != matches:
                self._tell(test, ordered)
        return True

    def _likeliest_first(self, test: FailedTest, matches: list[Misconception]) -> list[Misconception]:
        """First the one that more of the failures look like, then the one that this test stands for."""
        return sorted(matches, key=lambda m: (-self._matched[m.name], m.caught_by != test.function))

    def _tell(self, test: FailedTest, matches: list[Misconception]) -> None:
        theirs = self._seen[test.id, matches[0].name]
        agree = _how_far(test.observation, theirs.values)
        self.tell(test.id, [Match(name=m.name, does=m.lesson[0], think=m.lesson[1], agree=agree) for m in matches])

    def pytest_runtest_logreport(self, report):
        if report.when == "call" and report.failed:
            self._outcome = report.kata_observation

    # ---- the search --------------------------------------------------------------------------------------------------

    def _matching(self, test: FailedTest) -> list[Misconception]:
        def likeliest(m: Misconception) -> int:
            return 0 if m.name in self._matched else 1 if m.caught_by == test.function else 2

        for likely in range(3):  # those that are likely and few come first
            share = 0.5 if likely == 2 else 1  # the next failure may have likelier ones
            level = [m for m in self.possible if likeliest(m) == likely]
            tried = self._try(test.id, level, share * self._left, test.seconds)
            matches = [m for m in tried if test.observation.is_like(self._seen[test.id, m.name])]
            if not matches:
                continue
            if len(tried) < len(level):
                return []  # the others might look like it, too
            if likely:
                others = [*self.impossible, *(m for m in self.possible if likeliest(m) == 2 and m not in matches)]
                controls = _of_each_kind(others)[:CONTROLS]
                tried = self._try(test.id, controls, self._left, test.seconds)
                alike = [m for m in tried if test.observation.is_like(self._seen[test.id, m.name])]
                if len(alike) > 1 or len(tried) < len(controls):
                    return []  # a test that fails whatever it is given, or too little time to find out
            if len(matches) > 1 and test.passed:
                matches = self._that_pass(test, matches)
            return matches if len(matches) <= MOST_NAMED else []
        return []

    def _that_pass(self, test: FailedTest, alike: list[Misconception]) -> list[Misconception]:
        """Those that pass where the learner's answer passed; all of them where there is no time to find out."""
        passing = list(alike)
        for id_ in test.passed:
            tried = self._try(id_, passing, self._left, test.seconds)
            if len(tried) < len(passing):
                return alike
            passing = [m for m in passing if self._seen[id_, m.name] is None]
        return passing

    def _try(self, test: str, answers: Sequence[Misconception], seconds: float, least: float) -> list[Misconception]:
        """Runs a test over these answers, as many as there is time for; returns those.

        least: seconds that one more try costs
        """
        done, until = [], time.thread_time() + seconds
        for answer in answers:
            key = test, answer.name
            if key not in self._seen:
                began = time.thread_time()  # not the clock: a busy machine is to find the same
                if until - began < least:
                    break
                if key not in self._items:
                    continue
                self._seen[key] = self._run(self._items[key])
                self._left -= time.thread_time() - began
            done.append(answer)
        return done

    def _run(self, item: pytest.Item) -> Observation | None:
        for setter, value in self._settings:
            setter(value)
        self._outcome = None
        # any other one, in the same module, whose fixtures stay: only the student is another
        other = next((one for one in self._items.values() if one is not item), None)
        item.ihook.pytest_runtest_protocol(item=item, nextitem=other)
        return self._outcome


def _of_each_kind(some: Sequence[Misconception]) -> list[Misconception]:
    """First one for each test that catches them, then a second for each: what is wrong elsewhere is right here."""
    kinds: dict[str, list[Misconception]] = {}
    for m in some:
        kinds.setdefault(m.caught_by, []).append(m)
    return [m for row in itertools.zip_longest(*kinds.values()) for m in row if m]


def _how_far(observation: Observation, theirs: Sequence[tuple[str, Any]]) -> str:
    """How much agrees in the largest result: "all 3,072 codes agree"; of a number, where the failure is about it."""
    values = observation.values
    pairs = max(zip(_tensors(values), _tensors(theirs), strict=True), key=lambda pair: pair[0].numel(), default=None)
    if pairs and pairs[0].numel() > 1:
        total, kind = pairs[0].numel(), "codes" if pairs[0].dtype == torch.int8 else "values"
        agree = total if pairs[0].is_floating_point() else int((pairs[0] == pairs[1]).sum())
        return f"all {total:,} {kind} agree" if agree == total else f"{agree:,} of {total:,} {kind} agree"
    last = values[-1][1] if values else None
    last = last.item() if isinstance(last, Tensor) and last.numel() == 1 else last
    got = observation.words[1].split(" ")[0] if len(observation.words) > 1 else ""
    return f"it gets {got}, too" if isinstance(last, float) and got == f"{last:.6g}" else ""


def _tensors(values: Sequence[tuple[str, Any]]) -> list[Tensor]:
    results = [value if isinstance(value, list | tuple) else [value] for _, value in values]
    return [part for parts in results for part in parts if isinstance(part, Tensor)]


def _settings() -> tuple[tuple[Callable[[Any], None], Any], ...]:
    """PyTorch's global settings as they are now, each with what sets it."""
    return (
        (torch.set_num_threads, torch.get_num_threads()),
        (torch.set_grad_enabled, torch.is_grad_enabled()),
        (torch.set_default_dtype, torch.get_default_dtype()),
        (torch.set_float32_matmul_precision, torch.get_float32_matmul_precision()),
        (lambda name: setattr(torch.backends.quantized, "engine", name), torch.backends.quantized.engine),
        (torch.set_rng_state, torch.get_rng_state()),
    )
