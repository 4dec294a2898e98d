"""Which known mistake a failed test looks like, found by making the mistake.

tests/misconceptions/ (in a class's copy tests/misconceptions.zip) holds wrong answers that people really give. When a
test fails, it runs again, with the same inputs, over those of its exercise: each in the place of the learner's file.
One matches when the same assertion fails with the same words, and when every value that the test got until then is the
learner's. A right value cannot match: where a wrong answer returns what is right, it does not fail.

Only failures pay for it, and a suite no more than SECONDS.
"""

import ast
import contextlib
import io
import itertools
import os
import re
import signal
import tempfile
import time
import zipfile
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

import pytest
import torch
from _pytest.runner import runtestprotocol
from torch import Tensor

from grader import boundary, loader
from grader.alike import same, same_words

ROOT = Path(__file__).parent.parent
SUITES = ROOT / "tests"
INPUTS = pytest.StashKey[dict[str, Any]]()  # of a law, in place of looking for some (grader/laws.py)
SECONDS = 2.0  # for all failures of a suite
NESTED = 0.1  # for a session within the session
CONTROLS = 6  # wrong answers to something else, most of them right here: where two fail alike, it is not the answer
MOST_NAMED = 2  # mistakes that look alike; what looks like more of them is no diagnosis
CAUGHT_BY = re.compile(r"^# caught by: (test_\w+)$", re.MULTILINE)
THINK = re.compile(r"\n *think     ")
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
    folder, archive = SUITES / "misconceptions" / exercise, SUITES / "misconceptions.zip"
    if folder.is_dir():
        return tuple(Misconception(file.stem, file.read_text()) for file in sorted(folder.glob("*.py")))
    if not archive.is_file():
        return ()
    with zipfile.ZipFile(archive) as inside:
        names = sorted(name for name in inside.namelist() if name.startswith(f"{exercise}/") and name.endswith(".py"))
        return tuple(Misconception(Path(name).stem, inside.read(name).decode()) for name in names)


@dataclass(frozen=True)
class Diagnosis:
    """What a failure looks like: the names of the misconceptions, a sentence, and a question."""

    names: tuple[str, ...]
    sentence: str
    think: str

    def into(self, message: str) -> str:
        """message with the sentence in it, and with the question in the place of its own."""
        return f"{THINK.split(message)[0]}\nmatches   {self.sentence}\nthink     {self.think}"


@dataclass(frozen=True)
class _Failure:
    """How a test failed: with which error, where in the suites, in which words, after which values."""

    kind: type
    site: tuple[tuple[str, int], ...]
    words: str
    values: tuple[tuple[str, Any], ...]

    @classmethod
    def of(cls, excinfo: pytest.ExceptionInfo, student: boundary.Student) -> "_Failure":
        frames = [(str(entry.path), entry.lineno) for entry in excinfo.traceback if SUITES in Path(entry.path).parents]
        words = THINK.split(str(excinfo.value).split("\nassert ")[0])[0]
        return cls(excinfo.type, tuple(frames), words, tuple(student.returned))

    @property
    def is_about_nothing(self) -> bool:
        """Whether what came back last are tensors without elements: everybody agrees on those."""
        last = self.values[-1][1] if self.values else None
        parts = last if isinstance(last, list | tuple) else [last]
        return all(isinstance(part, Tensor) and part.numel() == 0 for part in parts)

    def is_like(self, other: "_Failure | None") -> bool:
        if other is None or (self.kind, self.site) != (other.kind, other.site):
            return False
        if not same_words(self.words, other.words) or len(self.values) != len(other.values):
            return False
        return all(map(same, self.values, other.values))


class Diagnostician:
    """Looks at the failures of one test session."""

    def __init__(self, seconds: float = SECONDS):
        self._left = seconds
        self._settings = _settings()
        self._failed: set[str] = set()  # test functions, of which the board shows the first failure only
        self._passed: dict[str, list[str]] = {}  # by test function: its cases that passed so far
        self._matched: set[str] = set()  # misconceptions found before, which are likely again
        self._theirs: _Failure | None = None  # the failure of the last one found

    def note_passed(self, item: pytest.Function) -> None:
        """To be told of every case that passed."""
        self._passed.setdefault(item.originalname, []).append(item.nodeid)

    def look(self, item: pytest.Function, call: pytest.CallInfo, student: boundary.Student) -> Diagnosis | None:
        """The mistake that the failure of item looks like, if it is a known one and there is time left."""
        exercise = item.path.stem.removeprefix("test_")
        first, failure = item.originalname not in self._failed, _Failure.of(call.excinfo, student)
        self._failed.add(item.originalname)
        if not first or failure.is_about_nothing:
            return None
        # a mistake that a test stands for is not made where that test has passed
        known = misconceptions(exercise)
        possible = [m for m in known if m.caught_by in self._failed or m.caught_by not in self._passed]
        impossible = [m for m in known if m not in possible]
        least = NESTED + call.duration  # seconds that one more try costs
        matches = self._matching(item, failure, student.among, possible, impossible, least)
        if not 1 <= len(matches) <= MOST_NAMED:
            return None
        self._matched |= {m.name for m in matches}
        return _diagnosis(matches, failure, self._theirs)

    def _matching(
        self,
        item: pytest.Function,
        failure: _Failure,
        submission: Path,
        possible: Sequence[Misconception],
        impossible: Sequence[Misconception],
        least: float,
    ) -> list[Misconception]:
        def those(some: Sequence[Misconception], *expected: "_Expected", share: float = 1):
            if share * self._left < least:
                return [], 0
            began = time.thread_time()  # not the clock: a busy machine is to find the same
            try:
                return _those(some, item, submission, dict(expected), self._settings, share * self._left)
            finally:
                self._left -= time.thread_time() - began

        def likeliest(m: Misconception) -> int:
            return 0 if m.name in self._matched else 1 if m.caught_by == item.originalname else 2

        def is_alike(theirs: _Failure | None) -> bool:
            if alike := failure.is_like(theirs):
                self._theirs = theirs
            return alike

        wanted = item.nodeid, is_alike
        self._theirs = None
        for likely in range(3):  # those that are likely and few come first
            share = 0.5 if likely == 2 else 1  # the next failure may have likelier ones
            level = [m for m in possible if likeliest(m) == likely]
            matches, tried = those(level, wanted, share=share)
            if not matches:
                continue
            if tried < len(level):
                return []  # the others might look like it, too
            if likely:
                others = [*impossible, *(m for m in possible if likeliest(m) == 2 and m not in matches)]
                controls = _of_each_kind(others)[:CONTROLS]
                found, tried = those(controls, (item.nodeid, failure.is_like))
                if len(found) > 1 or tried < len(controls):
                    return []  # a test that fails whatever it is given, or too little time to find out
            if len(matches) > 1 and (passed := self._passed.get(item.originalname)):
                alike = matches
                matches, tried = those(alike, *((nodeid, lambda theirs: theirs is None) for nodeid in passed))
                matches = matches if tried == len(alike) else alike
            return matches
        return []


def _of_each_kind(some: Sequence[Misconception]) -> list[Misconception]:
    """First one for each test that catches them, then a second for each: what is wrong elsewhere is right here."""
    kinds: dict[str, list[Misconception]] = {}
    for m in some:
        kinds.setdefault(m.caught_by, []).append(m)
    return [m for row in itertools.zip_longest(*kinds.values()) for m in row if m]


def _diagnosis(matches: Sequence[Misconception], failure: _Failure, theirs: _Failure) -> Diagnosis:
    does, thoughts = zip(*(m.lesson for m in matches), strict=True)
    sentence = f"an answer that {', or one that '.join(does)}{_how_far(failure.values, theirs.values)}"
    return Diagnosis(tuple(m.name for m in matches), sentence, thoughts[0])


def _how_far(values: Sequence[tuple[str, Any]], theirs: Sequence[tuple[str, Any]]) -> str:
    """How much agrees in the largest result: ": all 3,072 codes agree"."""
    pairs = max(zip(_tensors(values), _tensors(theirs), strict=True), key=lambda pair: pair[0].numel(), default=None)
    if pairs and pairs[0].numel() > 1:
        total, kind = pairs[0].numel(), "codes" if pairs[0].dtype == torch.int8 else "values"
        agree = total if pairs[0].is_floating_point() else int((pairs[0] == pairs[1]).sum())
        return f": all {total:,} {kind} agree" if agree == total else f": {agree:,} of {total:,} {kind} agree"
    last = values[-1][1] if values else None
    last = last.item() if isinstance(last, Tensor) and last.numel() == 1 else last
    return f": it gets {last:.6g}, too" if isinstance(last, float) else ""


def _tensors(values: Sequence[tuple[str, Any]]) -> list[Tensor]:
    results = [value if isinstance(value, list | tuple) else [value] for _, value in values]
    return [part for parts in results for part in parts if isinstance(part, Tensor) and not part.is_quantized]


# ---- the same test over other answers --------------------------------------------------------------------------------

_Expected = tuple[str, Callable[[_Failure | None], bool]]  # of a test's id, whether its failure (or none) is the one


def _those(
    some: Sequence[Misconception],
    item: pytest.Function,
    submission: Path,
    expected: dict[str, Callable[[_Failure | None], bool]],
    settings: "_Settings",
    seconds: float,
) -> tuple[list[Misconception], int]:
    """Those among some that do in item's suite what is expected of them, and how many the time was enough for.

    The suite runs in a pytest session of its own, within the one that goes on.
    """
    if seconds <= 0 or not some:
        return [], 0
    exercise = item.path.stem.removeprefix("test_")
    with _as_before(), loader.standing_in(exercise, submission) as put, _Clock(seconds) as clock:
        inputs = getattr(item, "_kata_inputs", None) if item.nodeid in expected else None
        loop = _Loop(some, expected, inputs, put, settings, clock)
        options = [f"--submission={submission}", f"--seed={item.config.option.seed}"]
        options += [f"--rootdir={item.config.rootpath}"]
        options += ["--diagnosis=0", "--capture=no", *(f"-pno:{name}" for name in NOT_NEEDED)]
        pytest.main([str(item.path), *options], plugins=[loop])
    return loop.found, loop.tried


class _Loop:
    """The plugin of that session: some tests, over one answer after the other."""

    def __init__(self, some, expected, inputs, put, settings, clock):
        self.some, self.expected, self.inputs = some, expected, inputs
        self.put, self.settings, self.clock = put, settings, clock
        self.failure: _Failure | None = None
        self.found: list[Misconception] = []
        self.tried = 0

    def pytest_collection_modifyitems(self, items):
        items[:] = [item for item in items if item.nodeid in self.expected]

    def pytest_runtestloop(self, session):
        if self.inputs:
            session.config.stash[INPUTS] = self.inputs
        with tempfile.TemporaryDirectory() as folder:
            for misconception in self.some:
                file = Path(folder, f"{misconception.name}.py")
                file.write_text(misconception.text)
                does = all(self._does_as_expected(item, file) for item in session.items)
                if not self.clock.has_time():
                    break
                self.tried += 1
                self.found += [misconception] * does
        return True

    def _does_as_expected(self, item: pytest.Function, file: Path) -> bool:
        self.put(file)
        _apply(self.settings)
        self.failure = None
        item.repr_failure = lambda error: ""  # nobody reads it, and it takes longer than most tests
        with self.clock.may_interrupt():
            self.clock.check()
            runtestprotocol(item, log=False, nextitem=None)  # all fixtures end with it
        item._request, item.funcargs = False, None  # what runtestprotocol asks for to run an item again
        return self.expected[item.nodeid](self.failure)

    @pytest.hookimpl(wrapper=True)
    def pytest_runtest_makereport(self, item, call):
        student = getattr(item.getparent(pytest.Module), "_kata_student", None)
        if call.excinfo and call.when == "call" and student:
            self.failure = _Failure.of(call.excinfo, student)
        return (yield)


class _TimeIsUp(BaseException):
    """No Exception, so that nothing in between takes it for a wrong answer's own."""


class _Clock:
    """So many seconds of this thread's processor time. Breaks off a test that is running when they are over.

    Nothing else is broken off: an error in the middle of pytest's own work would end the learner's session, too.
    """

    def __init__(self, seconds: float):
        self._seconds, self._over, self._testing = seconds, False, False

    def __enter__(self):
        self._until = time.thread_time() + self._seconds
        self._before = signal.signal(signal.SIGVTALRM, self._stop)  # not SIGALRM: that is the learner's own test's
        signal.setitimer(signal.ITIMER_VIRTUAL, self._seconds)
        return self

    def __exit__(self, *_):
        signal.setitimer(signal.ITIMER_VIRTUAL, 0)
        signal.signal(signal.SIGVTALRM, self._before)

    def has_time(self) -> bool:
        return not self._over and time.thread_time() < self._until

    @contextlib.contextmanager
    def may_interrupt(self) -> Iterator[None]:
        """While this lasts, a test is running."""
        with contextlib.suppress(_TimeIsUp):
            self._testing = True
            try:
                yield
            finally:
                self._testing = False

    def check(self) -> None:
        """raises: _TimeIsUp where that was before anything could be interrupted"""
        if self._over:
            raise _TimeIsUp

    def _stop(self, *_):
        self._over = True
        if self._testing:
            raise _TimeIsUp


_Settings = tuple[tuple[Callable[[Any], None], Any], ...]


def _settings() -> _Settings:
    """PyTorch's global settings as they are now, each with what sets it."""
    return (
        (torch.set_num_threads, torch.get_num_threads()),
        (torch.set_grad_enabled, torch.is_grad_enabled()),
        (torch.set_default_dtype, torch.get_default_dtype()),
        (torch.set_float32_matmul_precision, torch.get_float32_matmul_precision()),
        (lambda name: setattr(torch.backends.quantized, "engine", name), torch.backends.quantized.engine),
        (torch.set_rng_state, torch.get_rng_state()),
    )


def _apply(settings: _Settings) -> None:
    for setter, value in settings:
        setter(value)


@contextlib.contextmanager
def _as_before() -> Iterator[None]:
    """Afterwards PyTorch's settings are as they were; nothing prints meanwhile."""
    settings, nowhere, running = _settings(), io.StringIO(), os.environ.get("PYTEST_CURRENT_TEST")
    try:
        with contextlib.redirect_stdout(nowhere), contextlib.redirect_stderr(nowhere):
            yield
    finally:
        _apply(settings)
        if running is not None:
            os.environ["PYTEST_CURRENT_TEST"] = running
