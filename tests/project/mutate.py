"""`nox -s mutate`: one small change after the other in each solution; the exercise's own suite has to notice.

A mutant is a solution in which one operator, number, condition, argument, call or clean-up is another one or gone. Each
stands in for its file in a copy of solutions/, and the graded suite runs over it to the first failure. What survives is
either a gap in the suite or no change at all in what the contract can see; tests/project/equivalent.toml lists the
latter, each with its reason, and they are not run. Demonstrations, types, and the wording of errors are left alone.

Exit code 0 when every mutant was killed or is listed, 1 when some survived or a listed one does not exist any more.
"""

import argparse
import ast
import copy
import sys
import tempfile
import time
import tomllib
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from grader.results import syllabus
from tests.project import graded

SOLUTIONS = graded.ROOT / "solutions"
EQUIVALENT = Path(__file__).parent / "equivalent.toml"
SECONDS = 300  # for one mutant: what takes longer does not end
LEFT_ALONE = {"demonstration", "RoundedCache", "perplexity_with_caches"}  # what no suite calls
WORDING = {"help", "description", "prog"}  # keyword arguments that only people read
WITHOUT_DOT_PRODUCTS = {  # the older half of the processors in use, on any machine: other branches are taken there
    "ATEN_CPU_CAPABILITY": "avx2",
    "ONEDNN_MAX_CPU_ISA": "AVX2",
    "FBGEMM_ENABLE_INSTRUCTIONS": "AVX2",
}
BINARY = {
    ast.Add: [ast.Sub],
    ast.Sub: [ast.Add],
    ast.Mult: [ast.Div],
    ast.Div: [ast.Mult, ast.FloorDiv],
    ast.FloorDiv: [ast.Mult],
    ast.Mod: [ast.FloorDiv],
    ast.Pow: [ast.Mult],
}
COMPARE = {
    ast.Lt: [ast.LtE, ast.GtE],
    ast.LtE: [ast.Lt, ast.Gt],
    ast.Gt: [ast.GtE, ast.LtE],
    ast.GtE: [ast.Gt, ast.Lt],
    ast.Eq: [ast.NotEq],
    ast.NotEq: [ast.Eq],
    ast.Is: [ast.IsNot],
    ast.IsNot: [ast.Is],
    ast.In: [ast.NotIn],
    ast.NotIn: [ast.In],
}
NAMES = {"max": "min", "min": "max", "amax": "amin", "any": "all", "all": "any", "sqrt": "square", "floor": "ceil"}


@dataclass(frozen=True)
class Mutant:
    """One change: in which function, of which statement's first line, and the whole file with it."""

    exercise: str
    function: str
    before: str
    after: str
    text: str

    def __str__(self) -> str:
        return f"{self.exercise[:4]} {self.function}\n    - {self.before}\n    + {self.after}"


def mutants(exercise: str, source: str) -> Iterator[Mutant]:
    """Every mutant of a file, in the order of its lines."""
    tree = ast.parse(source)
    for index, top in enumerate(tree.body):
        name = getattr(top, "name", "the module")
        constant = isinstance(top, ast.Assign) and isinstance(top.value, ast.Constant)
        if name in LEFT_ALONE or not (constant or isinstance(top, ast.FunctionDef | ast.ClassDef)):
            continue
        changes = list(_changes(top))
        if getattr(top, "decorator_list", []):
            bare = _with(top, decorator_list=[])
            changes.insert(0, (top, _setting(tree.body, index, bare), bare))
        for statement, change, new in changes:
            before = _head(statement)
            undo = change()
            text = ast.unparse(ast.fix_missing_locations(tree))
            now = new if isinstance(new, list) else [new] if isinstance(new, ast.stmt) else [statement]
            after = " ".join(map(_head, now))
            undo()
            yield Mutant(exercise, name, before, after, text)


def _head(statement: ast.stmt) -> str:
    """A statement in a line; of one with a body what comes before that, and of `try` what it catches as well."""
    lines = ast.unparse(statement).splitlines()
    if isinstance(statement, ast.Try):
        clauses = [line for line in lines if line.startswith(("except", "finally"))]
        return " ... ".join([lines[0], *clauses])
    decorators = sum(line.startswith("@") for line in lines)
    shown = lines[: decorators + 1] if hasattr(statement, "body") else lines
    return " ".join(line.strip() for line in shown)


def _changes(top: ast.AST) -> Iterator[tuple[ast.stmt, Callable, ast.AST | list[ast.stmt]]]:
    """(statement, change, new) for all that can be changed below top; change() does it and returns what undoes it."""
    for parent, statement in _nodes(top):
        for field, value in ast.iter_fields(parent):
            if field in ("annotation", "returns") or isinstance(parent, ast.Raise):
                continue  # types, and the wording of errors
            if isinstance(value, list):
                for k, node in enumerate(value):
                    if isinstance(node, ast.AST):
                        own = node if isinstance(node, ast.stmt) else statement
                        for new in _replacements(node, parent, field):
                            yield own, _setting(value, k, new), new
            elif isinstance(value, ast.AST):
                for new in _replacements(value, parent, field):
                    yield statement, _setting(parent, field, new), new


def _nodes(top: ast.AST) -> Iterator[tuple[ast.AST, ast.stmt]]:
    """Every node that may hold a change, with the statement it belongs to."""
    pending = [(top, top)]
    while pending:
        node, statement = pending.pop()
        yield node, statement
        children = []
        for field, value in ast.iter_fields(node):
            if field in ("annotation", "returns") or isinstance(node, ast.Raise):
                continue
            for child in value if isinstance(value, list) else [value]:
                if not isinstance(child, ast.AST) or (isinstance(child, ast.keyword) and child.arg in WORDING):
                    continue
                children.append((child, child if isinstance(child, ast.stmt) else statement))
        pending += reversed(children)


def _setting(place, key, new):
    """A change that puts `new` there and returns how to undo it; a list of statements goes in whole."""

    def change():
        if isinstance(place, list):
            old = list(place)
            place[key : key + 1] = new if isinstance(new, list) else [new]
            return lambda: place.__setitem__(slice(None), old)
        old = getattr(place, key)
        setattr(place, key, new)
        return lambda: setattr(place, key, old)

    return change


def _replacements(node: ast.AST, parent: ast.AST, field: str) -> Iterator:
    """What may stand in the place of node; [] for nothing at all."""
    match node:
        case ast.BinOp():
            for kind in BINARY.get(type(node.op), ()):
                yield ast.BinOp(node.left, kind(), node.right)
        case ast.AugAssign():
            for kind in BINARY.get(type(node.op), ()):
                yield ast.AugAssign(node.target, kind(), node.value)
            yield ast.Pass()
        case ast.Compare():
            for kind in COMPARE.get(type(node.ops[0]), ()):
                yield ast.Compare(node.left, [kind(), *node.ops[1:]], node.comparators)
            if len(node.ops) > 1:
                for kind in COMPARE.get(type(node.ops[1]), ()):
                    yield ast.Compare(node.left, [node.ops[0], kind(), *node.ops[2:]], node.comparators)
        case ast.BoolOp():
            for k in range(len(node.values)):
                rest = [value for n, value in enumerate(node.values) if n != k]
                yield ast.BoolOp(node.op, rest) if len(rest) > 1 else rest[0]
        case ast.UnaryOp(op=ast.USub() | ast.Not()):
            yield node.operand
        case ast.Constant(value=bool()):
            yield ast.Constant(not node.value)
        case ast.Constant(value=int() | float()):
            yield ast.Constant(node.value + 1)
            yield ast.Constant(node.value - 1)
        case ast.Constant(value=str()) if not isinstance(parent, ast.Expr | ast.JoinedStr | ast.FormattedValue):
            yield ast.Constant(f"not {node.value}")
        case ast.Constant(value=str()) if isinstance(parent, ast.JoinedStr) and node.value.strip():
            yield ast.Constant(f"not {node.value}")
        case ast.If():
            yield _with(node, test=ast.Constant(True))
            yield _with(node, test=ast.Constant(False))
        case ast.IfExp():
            yield node.body
            yield node.orelse
        case ast.Expr(value=ast.Call()):
            yield ast.Pass()
        case ast.Try():
            if node.finalbody:
                yield _with(node, finalbody=[]) if node.handlers else node.body
            if node.finalbody and not node.handlers:
                yield node.body + node.finalbody  # only when all went well
            for k in range(len(node.handlers)):
                rest = [handler for n, handler in enumerate(node.handlers) if n != k]
                yield _with(node, handlers=rest) if rest or node.finalbody else node.body
        case ast.ExceptHandler(type=ast.Tuple()):
            for k in range(len(node.type.elts)):
                rest = [kind for n, kind in enumerate(node.type.elts) if n != k]
                yield _with(node, type=ast.Tuple(rest, ast.Load()))
        case ast.With():
            for k in range(len(node.items)):
                rest = [item for n, item in enumerate(node.items) if n != k]
                if node.items[k].optional_vars is None:
                    yield _with(node, items=rest) if rest else node.body
        case ast.FunctionDef() if node.decorator_list:
            yield _with(node, decorator_list=[])
        case ast.Attribute() if node.attr in NAMES and isinstance(parent, ast.Call) and field == "func":
            yield ast.Attribute(node.value, NAMES[node.attr], ast.Load())
        case ast.Name() if node.id in NAMES and isinstance(parent, ast.Call) and field == "func":
            yield ast.Name(NAMES[node.id], ast.Load())
        case ast.Call():
            for k in range(len(node.keywords)):
                if node.keywords[k].arg not in WORDING:
                    yield _with(node, keywords=[kw for n, kw in enumerate(node.keywords) if n != k])
            if node.args:
                yield _with(node, args=node.args[:-1])
            of_a_value = isinstance(node.func, ast.Attribute) and not _is_module(node.func.value)
            if of_a_value and not (isinstance(parent, ast.Expr)):
                yield node.func.value  # x instead of x.method(...)
            elif len(node.args) == 1 and not isinstance(parent, ast.Expr) and not isinstance(node.args[0], ast.Starred):
                yield node.args[0]  # x instead of f(x)


def _is_module(node: ast.AST) -> bool:
    root = node
    while isinstance(root, ast.Attribute):
        root = root.value
    modules = {"torch", "F", "nn", "math", "copy", "statistics", "time", "warnings", "contextlib", "os", "tempfile"}
    return isinstance(root, ast.Name) and root.id in modules | {"argparse", "io", "sys"}


def _with(node: ast.AST, **fields) -> ast.AST:
    twin = copy.copy(node)
    for name, value in fields.items():
        setattr(twin, name, value)
    return twin


def listed() -> list[dict]:
    """The mutants that nobody can tell from the solution: exercise, function, before, after, reason."""
    return tomllib.loads(EQUIVALENT.read_text())["mutant"] if EQUIVALENT.exists() else []


def is_listed(mutant: Mutant, entry: dict) -> bool:
    """An entry without `after` covers every change of a statement, one without `before` a whole function."""
    there = mutant.exercise.startswith(entry["exercise"]) and mutant.function == entry["function"]
    same = mutant.before == entry.get("before", mutant.before)
    return there and same and mutant.after in [*entry.get("afters", [entry.get("after", mutant.after)])]


def survivors(exercise: str, some: Sequence[Mutant], seed: int, processes: int) -> list[Mutant]:
    """Those whose suite finds nothing wrong, on this machine and, where that matters, without int8 dot products.

    raises: RuntimeError where the suite finds something wrong with the solution itself: then it proves nothing
    """
    solution = Mutant(exercise, "", "", "", (SOLUTIONS / f"{exercise}.py").read_text())
    for environment in ({}, WITHOUT_DOT_PRODUCTS) if "_int_mm" in solution.text else ({},):
        passed = _passing([solution, *some], seed, processes, environment)
        if solution not in passed:
            raise RuntimeError(f"the solution of {exercise} does not pass its own suite: mutants would prove nothing")
        some = [mutant for mutant in passed if mutant is not solution]
        if not some:
            break
    return list(some)


def _passing(some: Sequence[Mutant], seed: int, processes: int, environment: dict[str, str]) -> list[Mutant]:
    with tempfile.TemporaryDirectory() as folder:
        jobs = []
        for k, mutant in enumerate(some):
            submission = Path(folder, str(k))
            submission.mkdir()
            for file in SOLUTIONS.glob("ex*.py"):
                text = mutant.text if file.stem == mutant.exercise else file.read_text()
                (submission / file.name).write_text(text)
            jobs.append(graded.Job(str(submission.resolve()), (mutant.exercise,), seed, to_the_first=True))
        reports = graded.run_shared(jobs, processes, SECONDS, environment)
    return [
        mutant
        for mutant, report in zip(some, reports, strict=True)
        if all(case["outcome"] in ("passed", "undecided") for cases in report.values() for case in cases)
    ]


def main(argv: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="nox -s mutate --", description=__doc__.splitlines()[0])
    parser.add_argument("exercises", nargs="*", metavar="EX", help="ex03 for instance; without it all of them")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--list", action="store_true", help="print the mutants and run nothing")
    options = parser.parse_args(argv)
    exercises = syllabus.load()
    chosen = [syllabus.find(name, exercises) for name in options.exercises] or exercises
    entries, totals, bad = listed(), [0, 0, 0], 0
    print(
        f"{'':<22}{'mutants':>9}{'equivalent':>12}{'killed':>8}{'survived':>10}{'score':>8}{'minutes':>9}", flush=True
    )
    for exercise in chosen:
        began = time.monotonic()
        every = list(mutants(exercise.name, (SOLUTIONS / f"{exercise.name}.py").read_text()))
        of_it = [entry for entry in entries if exercise.name.startswith(entry["exercise"])]
        some = [mutant for mutant in every if not any(is_listed(mutant, entry) for entry in of_it)]
        if options.list:
            print(*some, sep="\n")
            continue
        alone = exercise.name.startswith("ex08")  # its verdict is about speed; that of ex09 allows for a busy machine
        left = survivors(exercise.name, some, options.seed, 1 if alone else 2)
        stale = [entry for entry in of_it if not any(is_listed(mutant, entry) for mutant in every)]
        score = 1 - len(left) / len(some) if some else 1.0
        counts = len(every), len(every) - len(some), len(some) - len(left)
        totals = [a + b for a, b in zip(totals, counts, strict=True)]
        print(
            f"{exercise.name:<22}{counts[0]:>9}{counts[1]:>12}{counts[2]:>8}{len(left):>10}{score:>8.1%}"
            f"{(time.monotonic() - began) / 60:>9.1f}"
        )
        for mutant in left:
            print(f"  survived: {mutant}")
        for entry in stale:
            print(f"  listed as equivalent, and not there any more: {entry}")
        bad += len(left) + len(stale)
        sys.stdout.flush()
    if len(chosen) > 1 and not options.list:
        tried = totals[0] - totals[1]
        print(f"{'all':<22}{totals[0]:>9}{totals[1]:>12}{totals[2]:>8}{tried - totals[2]:>10}{totals[2] / tried:>8.1%}")
    return 1 if bad else 0


if __name__ == "__main__":
    sys.exit(main())
