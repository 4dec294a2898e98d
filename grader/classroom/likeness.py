"""How alike the programs of a class are: a reason to look, never a verdict.

A program is compared as its syntax tree without what a disguise changes: names, comments, docstrings, annotations, the
order of functions. Of every function the tree is written down in order, cut into overlapping pieces of PIECE nodes, and
each piece counts once (the fingerprints of Schleimer, Wilkerson, Aiken: Winnowing, SIGMOD 2003, all of them kept). What
the stubs bring counts for nothing, and neither does what many in the class have in common: that is how one writes it.
"""

import ast
import itertools
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

PIECE = 16  # nodes
COMMON = 5  # programs that may share a piece before it counts as what everybody writes; in a large class half of it
LONGEST = 30_000  # bytes of a file that is compared; of ours none has 6,000
MOST = 5_000  # nodes of a file that are; of ours none has 600
FEWEST = 40  # pieces: of less than that nothing can be said

Pieces = frozenset[int]


@dataclass(frozen=True)
class Likeness:
    """Of one program: the share of its own pieces, from 0 to 1, that the one most like it has, too."""

    other: str
    share: float


def pieces(files: Sequence[Path], stubs: Sequence[Path] = ()) -> Pieces:
    """Of all these files together, without those of the stubs. A file that does not compile has none."""
    return compared(files, stubs)[0]


def compared(files: Sequence[Path], stubs: Sequence[Path] = ()) -> tuple[Pieces, list[str]]:
    """The same, and the names of those files that are too long to be looked at in full."""
    read = [_of_file(file) for file in files]
    of_stubs = {piece for stub in stubs for piece in _of_file(stub)[0]}
    found = {piece for of_file, _ in read for piece in of_file}
    too_long = [file.name for file, (_, whole) in zip(files, read, strict=True) if not whole]
    return frozenset(found - of_stubs), too_long


def compare(
    programs: Mapping[str, Pieces], reference: Pieces = frozenset()
) -> dict[str, tuple[Likeness | None, float]]:
    """For each program the one most like it, and the share of its pieces, from 0 to 1, that the reference has, too.

    Programs with too few pieces of their own get None.
    """
    limit = max(COMMON, len(programs) // 2)
    count = Counter(piece for program in programs.values() for piece in program)
    own = {name: frozenset(p for p in program if count[p] <= limit) for name, program in programs.items()}
    found: dict[str, tuple[Likeness | None, float]] = {}
    for name, mine in own.items():
        whole = programs[name]
        like_reference = len(whole & reference) / len(whole) if len(whole) >= FEWEST else 0.0
        others = [
            Likeness(other, len(mine & theirs) / min(len(mine), len(theirs)))
            for other, theirs in own.items()
            if other != name and min(len(mine), len(theirs)) >= FEWEST
        ]
        found[name] = max(others, key=lambda likeness: likeness.share, default=None), like_reference
    return found


def _of_file(file: Path) -> tuple[set[int], bool]:
    """Its pieces, and whether that is all of them."""
    try:
        if file.stat().st_size > LONGEST:
            return set(), False
        tree = ast.parse(file.read_bytes())
    except (SyntaxError, ValueError, RecursionError, MemoryError, OSError):
        return set(), True
    found, left = set(), MOST
    for body in _bodies(tree):
        nodes = list(itertools.islice(_nodes(body), left))
        found.update(_cut(nodes))
        left -= len(nodes)
    return found, left > 0


def _bodies(tree: ast.Module) -> Iterator[ast.AST]:
    """The functions and methods, wherever they are defined, each without those within it."""
    for node in ast.walk(tree):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            yield node


def _cut(nodes: list[str]) -> Iterator[int]:
    for k in range(len(nodes) - PIECE + 1):
        yield hash(tuple(nodes[k : k + PIECE]))


def _nodes(body: ast.AST) -> Iterator[str]:
    """The tree in order: kinds of nodes, attributes and numbers as they are, names all alike."""
    waiting = [body]
    while waiting:  # no recursion: in a tree that is deep each step would take as long as it is deep
        node = waiting.pop()
        children: list[ast.AST] = []
        match node:
            case ast.FunctionDef() | ast.AsyncFunctionDef() if node is not body:
                continue  # a body of its own
            case ast.FunctionDef() | ast.AsyncFunctionDef():
                children = [*node.args.args, *_without_docstring(node.body)]
                yield "def"
            case ast.Name():
                yield "name"
            case ast.Attribute():
                yield f".{node.attr}"
                children = [node.value]
            case ast.Constant():
                yield _constant(node.value)
            case ast.arg():
                yield "argument"
            case ast.AnnAssign() if node.value is not None:
                yield "Assign"
                children = [node.target, node.value]
            case ast.expr_context():
                pass
            case _:
                yield type(node).__name__
                children = list(ast.iter_child_nodes(node))
        waiting += reversed(children)


def _constant(value: object) -> str:
    if isinstance(value, int | float | complex | None) and abs(value or 0) < 1e15:
        return repr(value)
    return type(value).__name__


def _without_docstring(body: list[ast.stmt]) -> list[ast.stmt]:
    first = body[0] if body else None
    says = isinstance(first, ast.Expr) and isinstance(first.value, ast.Constant)
    return body[1:] if says else body
