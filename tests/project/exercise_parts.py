"""The parts of an exercise: the skeletons of a new one, and what one still lacks.

`nox -s new` (grader/commands/new.py) writes the skeletons and prints what is missing; the gate, in
tests/project/exercises, asks for the same minima. Files are read as text: nothing here imports torch.
"""

import ast
import re
from collections.abc import Collection, Iterator
from pathlib import Path

from grader.results import syllabus
from grader.results.paths import ROOT
from grader.results.syllabus import Exercise
from grader.results.text import short_name, title_of

NAME = re.compile(r"ex\d\d(_[a-z0-9]+)+")
STUB, SOLUTION, SUITE = "exercises/{}.py", "solutions/{}.py", "tests/test_{}.py"
WRONG, RIGHT = "tests/misconceptions/{}", "tests/project/right_answers/{}"
SYLLABUS = "exercises/syllabus.toml"
CAUGHT_BY = re.compile(r"^# caught by: (test_\w+)$", re.MULTILINE)
SAYS = re.compile(r"^# says: (.+)$", re.MULTILINE)
PLACEHOLDER = re.compile(r"\bREPLACE\b")

# ---- minima ----------------------------------------------------------------------------------------------------------

POINTS = 10  # of every exercise
SHORTEST_HINT = 40  # characters; that there are three hints, the syllabus itself asks
WRONG_AT_LEAST = dict.fromkeys(["ex01", "ex02", "ex04", "ex05", "ex06"], 10)  # answers; of the others 6
RIGHT_AT_LEAST = dict.fromkeys(["ex01", "ex02", "ex04", "ex05"], 5)  # of the others 3
CAUGHT_ELSEWHERE = 3  # wrong answers, if any: one more than the mistakes that a diagnosis names (MOST_NAMED)
LONGEST_TITLE = 43  # characters: what the board has room for
TITLE_WORDS = 3  # of a test


def wrong_at_least(exercise: str) -> int:
    return WRONG_AT_LEAST.get(short_name(exercise), 6)


def right_at_least(exercise: str) -> int:
    return RIGHT_AT_LEAST.get(short_name(exercise), 3)


# ---- skeletons: a small exercise that works, to be replaced piece by piece -------------------------------------------

EXERCISE = '''"""EX  REPLACE the title, as in the syllabus

REPLACE the lesson: one idea on one screen, with the formula, a number that surprises, and why it matters.

    largest = max|w|                  the weight that decides how coarse the grid is

When it passes, `.venv/bin/python -m exercises.NAME` shows REPLACE what the demonstration shows.
"""

if __name__ == "__main__" and not __package__:
    raise SystemExit("Run it from the project's folder as a module: .venv/bin/python -m exercises.NAME")

import torch
from torch import Tensor


def largest(w: Tensor) -> Tensor:
    """The largest absolute value of a tensor. REPLACE this function and its contract.

    w:       any shape, any floating-point precision
    returns: () float32
    raises:  ValueError for an empty w
    """
BODY


def demonstration() -> None:
    """REPLACE what it shows, with the learner's own functions."""
    torch.manual_seed(0)
    print("   weights   largest")
    for n in (10, 1_000, 100_000):
        print(f"{n:10,}   {largest(torch.randn(n)):7.3f}")
    print("\\nREPLACE what these figures say.")


if __name__ == "__main__":
START
'''

STUB_BODY = """    # TODO: EX, step 1 of 1. REPLACE a question that leads to the first line.
    raise NotImplementedError("EX: largest")"""
STUB_START = """    try:
        demonstration()
    except NotImplementedError as stub:
        print(f"not there yet: {stub}")"""

SOLUTION_BODY = """    if w.numel() == 0:
        raise ValueError("w is empty")
    return w.float().abs().max()"""
SOLUTION_START = "    demonstration()"

TESTS = '''"""EX: REPLACE what its tests prove, in half a sentence."""

from functools import partial

import pytest
import torch

from tests import oracle
from tests.laws import laws
from tests.messages import check_tensor, check_unchanged, check_value_errors, describe, fail


def _any_sign_and_precision(student, rng):
    """The largest weight is found, whatever its sign and the precision."""
    for largest, dtype in ((9.0, torch.float32), (-9.0, torch.float32), (-9.0, torch.float16)):
        w = torch.randn(4, 8, generator=rng).clamp(-4, 4).to(dtype)
        w[1, 3] = largest
        called = f"largest(w), w {describe(w)}"
        got = check_tensor(student.largest(w), called, (), torch.float32)
        check_unchanged(w, student.view(w), called)
        want = oracle.exact(w).abs().max().item()
        if got.item() != want:
            fail(called, got.item(), want, "Which of -9 and 3 is further from 0?")


def _an_empty_tensor_is_a_value_error(student, rng):
    """An empty tensor is a ValueError."""
    good = {"largest(w), w (1,)": partial(student.largest, torch.ones(1))}
    check_value_errors({"largest(w), w is empty": partial(student.largest, torch.zeros(0))}, good)


@pytest.mark.points(POINTS)
@laws(_any_sign_and_precision, _an_empty_tensor_is_a_value_error)
def test_the_largest_weight_is_found(student, rng, law):
    """The largest weight is found: REPLACE these laws."""
    law(student, rng)
'''

WRONG_ANSWER = '''"""Takes the largest value, not the largest absolute value. Which of -9 and 3 is further from 0?"""

# caught by: test_the_largest_weight_is_found
# says: called largest(w), w ... got ... expected 9

# REPLACE this answer by a mistake that people make.


def largest(w):
    if w.numel() == 0:
        raise ValueError("w is empty")
    return w.float().max()
'''

RIGHT_ANSWER = '''"""NumPy, from w on; the number goes back into a tensor."""

# REPLACE this answer by one that solves the exercise in another way than the solution.

import numpy as np
import torch


def largest(w):
    if w.numel() == 0:
        raise ValueError("w is empty")
    return torch.tensor(np.abs(w.float().numpy()).max())
'''

ENTRY = """
[[exercise]]
name = "NAME"
title = "REPLACE the title: at most LONGEST characters"
track = "beyond"
points = POINTS
needs = []
hints = [
  "REPLACE the first hint: a question. Which weight decides, and why is it not always the largest value?",
  "REPLACE the second hint: which functions of torch to look for, and which case is easy to forget.",
  "REPLACE the third hint, which is nearly the answer: w.float().abs().max(), once w is known not to be empty.",
]
afterwards = "REPLACE what to look at in the demonstration once it passes, and what to try next."
"""


def skeletons(name: str) -> dict[str, str]:
    """The files of a new exercise: path below the project's folder, and text."""
    texts = {
        STUB.format(name): EXERCISE.replace("BODY", STUB_BODY).replace("START", STUB_START),
        SOLUTION.format(name): EXERCISE.replace("BODY", SOLUTION_BODY).replace("START", SOLUTION_START),
        SUITE.format(name): TESTS,
        f"{WRONG.format(name)}/forgets_the_sign.py": WRONG_ANSWER,
        f"{RIGHT.format(name)}/numpy_abs.py": RIGHT_ANSWER,
    }
    return {path: _filled(text, name) for path, text in texts.items()}


def entry(name: str) -> str:
    """Its entry in the syllabus."""
    return _filled(ENTRY, name)


def _filled(text: str, name: str) -> str:
    values = {"NAME": name, "EX": short_name(name), "POINTS": str(POINTS), "LONGEST": str(LONGEST_TITLE)}
    for hole, value in values.items():
        text = re.sub(rf"\b{hole}\b", value, text)
    return text


# ---- what is missing -------------------------------------------------------------------------------------------------


def exercises() -> list[Exercise]:
    return syllabus.load(ROOT / SYLLABUS)


def missing(exercise: Exercise) -> list[str]:
    """What an exercise still lacks, each as "file: what"; empty where nothing is missing."""
    name = exercise.name
    stub, solution, suite = (ROOT / place.format(name) for place in (STUB, SOLUTION, SUITE))
    answers = [_answers(place, name) for place in (WRONG, RIGHT)]
    files = [stub, solution, suite, *answers[0], *answers[1]]
    if unreadable := [f"{_shown(file)}: {fault}" for file in files if (fault := _unreadable(file))]:
        return unreadable
    found = [*_placeholders(files), *_about_the_entry(exercise), *_about_the_stub(exercise, stub, solution)]
    found += [*_about_the_suite(exercise, suite), *_about_wrong_answers(exercise, suite, answers[0])]
    return found + [*_about_right_answers(exercise, answers[1]), *_about_the_readme(exercise)]


def fault_of_wrong_answer(text: str, tests: Collection[str]) -> str:
    """What is wrong with the words of a wrong answer; empty where nothing is.

    tests: the test functions of its suite
    """
    does, _, think = " ".join((ast.get_docstring(ast.parse(text)) or "").split()).partition(". ")
    caught_by, says = CAUGHT_BY.findall(text), SAYS.findall(text)
    if not re.match(r"(never|\w+s|does not) ", does[:1].lower() + does[1:]) or re.search(r"[.?]( |$)", does):
        return 'the docstring does not begin with one sentence of what the answer does, such as "Rounds down."'
    if not think.endswith("?") or re.search(r"[.?] ", think):
        return "the docstring does not end with one question to think about"
    if len(caught_by) != 1:
        return "there is not one line `# caught by: test_...`"
    if caught_by[0] not in tests:
        return f"it is caught by {caught_by[0]}, which is no test of the suite"
    if len(says) != 1:
        return "there is not one line `# says: ...`, the beginning of the failure's text, with ... for what varies"
    if " think " in says[0]:
        return "`# says:` quotes the question, in whose place a diagnosis puts its own"
    return ""


def _unreadable(file: Path) -> str:
    try:
        ast.parse(file.read_text(encoding="utf-8"))
    except OSError as error:
        return (error.strerror or str(error)).lower()
    except SyntaxError as error:
        return f"line {error.lineno} is no Python: {error.msg}"
    return ""


def _placeholders(files: list[Path]) -> Iterator[str]:
    for file in files:
        lines = file.read_text(encoding="utf-8").splitlines()
        if marked := [number for number, line in enumerate(lines, 1) if PLACEHOLDER.search(line)]:
            more = f", and {len(marked) - 1} more" if len(marked) > 1 else ""
            yield f"{_shown(file)}:{marked[0]}: the word REPLACE{more}"


def _about_the_entry(exercise: Exercise) -> Iterator[str]:
    texts = {"the title": exercise.title, "afterwards": exercise.afterwards}
    texts |= {f"hint {k}": hint for k, hint in enumerate(exercise.hints, 1)}
    for what, text in texts.items():
        if PLACEHOLDER.search(text):
            yield f"{SYLLABUS}: {what} has the word REPLACE"
    if len(exercise.title) > LONGEST_TITLE:
        yield f"{SYLLABUS}: the title has {len(exercise.title)} characters, more than {LONGEST_TITLE}"
    if not exercise.afterwards:
        yield f"{SYLLABUS}: there is no `afterwards`, which says what to look at and to try next once it passes"
    if exercise.points != POINTS:
        yield f"{SYLLABUS}: {exercise.points} points instead of {POINTS}"
    if "?" not in exercise.hints[0]:
        yield f"{SYLLABUS}: the first hint is no question"
    if len(set(exercise.hints)) < len(exercise.hints):
        yield f"{SYLLABUS}: two hints are the same"
    for k, hint in enumerate(exercise.hints, 1):
        if len(hint) <= SHORTEST_HINT:
            yield f"{SYLLABUS}: hint {k} has {SHORTEST_HINT} characters or fewer"


def _about_the_stub(exercise: Exercise, stub: Path, solution: Path) -> Iterator[str]:
    text, answer = stub.read_text(encoding="utf-8"), solution.read_text(encoding="utf-8")
    if ast.get_docstring(ast.parse(text)) != ast.get_docstring(ast.parse(answer)):
        yield f"{_shown(solution)}: the lesson is not that of {_shown(stub)}"
    ours, theirs = _functions(text), _functions(answer)
    open_ = [name for name, node in ours.items() if _is_stub(node)]
    if not open_:
        yield f"{_shown(stub)}: there is nothing to do"
    for name in open_:
        if name not in theirs or _is_stub(theirs[name]):
            yield f"{_shown(solution)}: {name} is not written"
        elif _face(ours[name]) != _face(theirs[name]):
            yield f"{_shown(solution)}: {name} has another signature or docstring than in {_shown(stub)}"
        if f'NotImplementedError("{exercise.short}: {name.rpartition(".")[2]}")' not in text:
            yield f'{_shown(stub)}: {name} does not raise NotImplementedError("{exercise.short}: {name}")'
    steps = [(str(k), str(len(open_))) for k in range(1, len(open_) + 1)]
    if re.findall(rf"# TODO: {exercise.short}, step (\d+) of (\d+)", text) != steps:
        yield f"{_shown(stub)}: not one `# TODO: {exercise.short}, step 1 of {len(open_)}.` for each function, in order"
    if "TODO" in answer:
        yield f"{_shown(solution)}: a TODO is left"
    if "main" in ours:  # a script is its own demonstration
        return
    for file, functions in ((stub, ours), (solution, theirs)):
        if "demonstration" not in functions:
            yield f"{_shown(file)}: there is no demonstration()"
    if "not there yet: {" not in text:
        yield f"{_shown(stub)}: the demonstration of a stub does not print `not there yet: ...`"


def _about_the_suite(exercise: Exercise, suite: Path) -> Iterator[str]:
    total = 0
    for test in _tests(suite):
        points = [_points(decorator) for decorator in test.decorator_list]
        points = [number for number in points if number is not None]
        if len(points) != 1 or points[0] < 1:
            yield f"{_shown(suite)}: {test.name} has no pytest.mark.points(n), or several"
        total += sum(points)
        title = (ast.get_docstring(test) or title_of(test.name)).partition("\n")[0]
        if not title.endswith(".") or len(title.split()) < TITLE_WORDS:
            yield f"{_shown(suite)}: the title of {test.name} is no sentence with a full stop: {title}"
    if total != exercise.points:
        yield f"{_shown(suite)}: the points add up to {total}, not to {exercise.points}"


def _about_wrong_answers(exercise: Exercise, suite: Path, files: list[Path]) -> Iterator[str]:
    tests = [test.name for test in _tests(suite)]
    for file in files:
        if fault := fault_of_wrong_answer(file.read_text(encoding="utf-8"), tests):
            yield f"{_shown(file)}: {fault}"
    if len(files) < (least := wrong_at_least(exercise.name)):
        yield f"{WRONG.format(exercise.name)}: {len(files)} of at least {least} wrong answers"
    caught_by = [name for file in files for name in CAUGHT_BY.findall(file.read_text(encoding="utf-8"))]
    for test in tests:
        elsewhere = len(caught_by) - caught_by.count(test)
        if 0 < elsewhere < CAUGHT_ELSEWHERE:
            yield (
                f"{WRONG.format(exercise.name)}: {elsewhere} of at least {CAUGHT_ELSEWHERE} wrong answers that "
                f"another test than {test} catches"
            )


def _about_right_answers(exercise: Exercise, files: list[Path]) -> Iterator[str]:
    for file in files:
        if not ast.get_docstring(ast.parse(file.read_text(encoding="utf-8"))):
            yield f"{_shown(file)}: there is no docstring that says how it differs from the solution"
    if len(files) < (least := right_at_least(exercise.name)):
        yield f"{RIGHT.format(exercise.name)}: {len(files)} of at least {least} right answers"


def _about_the_readme(exercise: Exercise) -> Iterator[str]:
    text = (ROOT / "README.md").read_text(encoding="utf-8")
    if not re.search(rf"^\| {exercise.short} ", text, re.MULTILINE):
        yield f"README.md: the table of exercises has no row `| {exercise.short} ... |`"
    if f"{exercise.short}  {exercise.title}" not in text:
        yield f"README.md: the board does not show `{exercise.short}  {exercise.title}`"


def _answers(place: str, name: str) -> list[Path]:
    return sorted((ROOT / place.format(name)).glob("*.py"))


def _functions(text: str) -> dict[str, ast.FunctionDef]:
    """Functions and methods of a file: `quantize`, `Int8KVCache.append`."""
    found = {}
    for node in ast.parse(text).body:
        inside = node.body if isinstance(node, ast.ClassDef) else [node]
        prefix = f"{node.name}." if isinstance(node, ast.ClassDef) else ""
        found |= {f"{prefix}{part.name}": part for part in inside if isinstance(part, ast.FunctionDef)}
    return found


def _is_stub(function: ast.FunctionDef) -> bool:
    return "raise NotImplementedError" in ast.unparse(function)


def _face(function: ast.FunctionDef) -> tuple[str, str | None]:
    return ast.unparse(function.args), ast.get_docstring(function)


def _tests(suite: Path) -> list[ast.FunctionDef]:
    functions = _functions(suite.read_text(encoding="utf-8"))
    return [function for name, function in functions.items() if name.startswith("test_")]


def _points(decorator: ast.expr) -> int | None:
    found = re.fullmatch(r"pytest\.mark\.points\((\d+)\)", ast.unparse(decorator))
    return int(found[1]) if found else None


def _shown(file: Path) -> str:
    return file.relative_to(ROOT).as_posix()
