"""Likeness of programs: a disguised copy is found, and two people's own work is not."""

import ast
import random
import time

import pytest

from grader.classroom import likeness
from tests.project import graded

NAMES = ("ex01_round_trip", "ex02_per_channel", "ex03_error_growth", "ex04_int8_product", "ex05_linear_swap")
STUBS = sorted((graded.ROOT / "exercises").glob("ex*.py"))
SOLUTIONS = sorted((graded.ROOT / "solutions").glob("ex*.py"))
RIGHT = graded.ROOT / "tests" / "project" / "right_answers"


class Disguise(ast.NodeTransformer):
    """Other names, other order, no docstrings, a useless statement in every function."""

    def __init__(self):
        self.names: dict[str, str] = {}

    def visit_Name(self, node):
        return ast.Name(self.names.setdefault(node.id, f"v{len(self.names)}"), node.ctx)

    def visit_arg(self, node):
        return ast.arg(self.names.setdefault(node.arg, f"v{len(self.names)}"), None)

    def visit_FunctionDef(self, node):
        self.generic_visit(node)
        body = node.body[1:] if ast.get_docstring(node) else node.body
        node.body = [*ast.parse("unused = 1").body, *body]
        node.returns = None
        return node

    def visit_Module(self, node):
        self.generic_visit(node)
        random.Random(1).shuffle(node.body)
        return node


@pytest.fixture
def disguised(tmp_path):
    for file in SOLUTIONS:
        tree = ast.fix_missing_locations(Disguise().visit(ast.parse(file.read_text())))
        (tmp_path / file.name).write_text(ast.unparse(tree))
    return sorted(tmp_path.glob("*.py"))


def own(number: int) -> likeness.Pieces:
    """A program of right answers of different kinds."""
    answers = [sorted((RIGHT / name).glob("*.py")) for name in NAMES]
    return likeness.pieces([files[number % len(files)] for files in answers], STUBS)


def test_a_disguised_copy_is_found(disguised):
    programs = {"original": likeness.pieces(SOLUTIONS, STUBS), "copy": likeness.pieces(disguised, STUBS)}
    programs |= {f"own {k}": own(k) for k in range(3)}
    found, like_solutions = likeness.compare(programs, programs["original"])["copy"]
    assert found.other == "original" and found.share > 0.8 and like_solutions > 0.7


def test_two_peoples_own_work_is_not(disguised):
    programs = {f"own {k}": own(k) for k in range(4)} | {"copy": likeness.pieces(disguised, STUBS)}
    found = likeness.compare(programs)
    assert all(like.share < 0.5 for like, _ in found.values())


def test_several_copies_in_a_larger_class_are_found_as_well(disguised):
    programs = {f"own {k}": own(k) for k in range(6)}
    programs |= {f"copy {k}": likeness.pieces(disguised, STUBS) for k in range(4)}
    found = likeness.compare(programs)
    assert all(found[f"copy {k}"][0].share == 1 for k in range(4))


def test_stubs_are_like_nobody():
    assert likeness.pieces(STUBS, STUBS) == frozenset()
    programs = {"one": frozenset(), "two": frozenset(), "own": own(0)}
    assert likeness.compare(programs, own(1))["one"] == (None, 0.0)


def test_what_does_not_compile_has_no_pieces(tmp_path):
    for name, text in {"a": b"def f(:\n", "b": b"\0", "c": b"\xff\xfe", "d": b"(" * 100_000}.items():
        (tmp_path / f"{name}.py").write_bytes(text)
    assert likeness.pieces(sorted(tmp_path.glob("*.py"))) == frozenset()


def test_a_file_that_nobody_wrote_costs_little(tmp_path):
    dense = "def f(x):\n    return [" + "0," * 12_000 + "]\n"
    deep = "def f(x):\n    return " + "+".join(["x"] * 400) + "\n"
    files = {
        "numbers": "x = [" + "1," * 520_000 + "]\n",
        "dense": dense,
        "deep": deep.join("" for _ in range(30)),
        "brackets": "x = " + "[" * 25_000,
        "minus": "x = " + "-" * 25_000 + "1\n",
        "attributes": "x" + ".y" * 12_000 + "\n",
    }
    for name, text in files.items():
        (tmp_path / f"{name}.py").write_text(text)
    began, cpu = time.monotonic(), time.process_time()
    found, too_long = likeness.compared([tmp_path / f"{name}.py" for name in files])
    assert time.process_time() - cpu < 2 and time.monotonic() - began < 30
    assert len(found) <= 2 * likeness.MOST and {"numbers.py", "dense.py", "deep.py"} <= set(too_long)
    assert not likeness.compared(SOLUTIONS, STUBS)[1]
