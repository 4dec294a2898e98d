"""Every exercise is whole: stub, solution, suite, syllabus entry, hints, points, and the same face on both sides."""

import ast
import re
import subprocess
import sys

import pytest

from grader.results import syllabus
from grader.results.paths import ROOT

EXERCISES = syllabus.load()
NAMES = [exercise.name for exercise in EXERCISES]
EVERY = pytest.mark.parametrize("name", NAMES)
SHARED_CLASSES = {"Int8KVCache"}
ON_LITTLE = """
import os, runpy, sys
os.environ["TORCH_CPP_LOG_LEVEL"] = "ERROR"  # as ex08 does before torch is there
from llm import checkpoint, corpus
load, held_out, calibration = checkpoint.load_gpt, corpus.held_out_tokens, corpus.calibration_tokens
def load_gpt():
    gpt = load()
    gpt.blocks = gpt.blocks[:1]
    return gpt
checkpoint.load_gpt = load_gpt
corpus.held_out_tokens = lambda: held_out()[:513]
corpus.calibration_tokens = lambda windows=32, length=256: calibration(min(windows, 2), length)
for name in sys.argv[1:]:
    print("\f", end="")
    try:
        runpy.run_module(name, run_name="__main__", alter_sys=True)
    except SystemExit as end:
        print(end.code)
"""
ALLOWED = {"torch", "numpy", "llm"} | set(sys.stdlib_module_names)


def functions(path):
    """Public functions of a file: name -> (signature, docstring)."""
    found = [node for node in defined(path) if not node.name.startswith("_")]
    return {node.name: (ast.unparse(node.args), ast.get_docstring(node)) for node in found}


def defined(path):
    """Functions of a file, and methods of the classes that a stub and its solution share."""
    tree = ast.parse(path.read_text())
    bodies = [tree.body] + [c.body for c in tree.body if isinstance(c, ast.ClassDef) and c.name in SHARED_CLASSES]
    return [node for body in bodies for node in body if isinstance(node, ast.FunctionDef)]


def stubs(path):
    return [node.name for node in defined(path) if "raise NotImplementedError" in ast.unparse(node)]


@pytest.mark.parametrize(
    "folder, pattern", [("exercises", "{}.py"), ("solutions", "{}.py"), ("tests", "test_{}.py")], ids=str
)
def test_each_room_has_a_file_for_each_exercise_and_no_stray_one(folder, pattern):
    there = {p.name for p in (ROOT / folder).iterdir() if p.is_file() and re.match(r"(test_)?ex\d", p.name)}
    assert there == {pattern.format(name) for name in NAMES}
    if folder != "tests":
        others = {p.name for p in (ROOT / folder).iterdir() if p.suffix != ".py" and p.name != "__pycache__"}
        assert others == ({"syllabus.toml"} if folder == "exercises" else set())


@EVERY
def test_a_stub_has_the_solutions_lesson_signatures_and_contracts(name):
    stub, solution = ROOT / "exercises" / f"{name}.py", ROOT / "solutions" / f"{name}.py"
    assert ast.get_docstring(ast.parse(stub.read_text())) == ast.get_docstring(ast.parse(solution.read_text()))
    ours, theirs = functions(stub), functions(solution)
    for function, face in ours.items():
        assert face == theirs[function], function
    assert stubs(stub), "nothing to do"
    assert not stubs(solution)


@EVERY
def test_every_stub_has_a_todo_of_its_own(name):
    text = (ROOT / "exercises" / f"{name}.py").read_text()
    names = stubs(ROOT / "exercises" / f"{name}.py")
    todos = re.findall(rf"# TODO: {name[:4]}, step (\d) of (\d)", text)
    assert todos == [(str(k + 1), str(len(names))) for k in range(len(names))]
    for function in names:
        assert f'raise NotImplementedError("{name[:4]}: {function}")' in text
    assert "TODO" not in (ROOT / "solutions" / f"{name}.py").read_text()


@EVERY
@pytest.mark.parametrize("folder", ["exercises", "solutions"])
def test_a_submission_is_self_contained(folder, name):
    tree = ast.parse((ROOT / folder / f"{name}.py").read_text())
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            assert {alias.name.split(".")[0] for alias in node.names} <= ALLOWED
        elif isinstance(node, ast.ImportFrom) and node.level == 0:
            assert node.module.split(".")[0] in ALLOWED
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 1 and node.module in NAMES[: NAMES.index(name)], f"{node.module} comes later"


@EVERY
def test_what_an_exercise_imports_it_needs(name):
    exercise = EXERCISES[NAMES.index(name)]
    reachable, pending = set(), list(exercise.needs)
    while pending:
        needed = pending.pop()
        reachable.add(needed)
        pending += EXERCISES[NAMES.index(needed)].needs
    tree = ast.parse((ROOT / "solutions" / f"{name}.py").read_text())
    imported = {node.module for node in ast.walk(tree) if isinstance(node, ast.ImportFrom) and node.level == 1}
    assert imported <= reachable


@EVERY
def test_points_add_up(name):
    text = (ROOT / "tests" / f"test_{name}.py").read_text()
    tree = ast.parse(text)
    tests = [n for n in tree.body if isinstance(n, ast.FunctionDef) and n.name.startswith("test_")]
    points = []
    for test in tests:
        marks = [d for d in map(ast.unparse, test.decorator_list) if d.startswith("pytest.mark.points(")]
        assert len(marks) == 1, f"{test.name} has no points, or several"
        points.append(int(re.search(r"\d+", marks[0])[0]))
    assert min(points) >= 1
    assert sum(points) == EXERCISES[NAMES.index(name)].points == 10


@EVERY
def test_hints_climb_from_a_question_to_nearly_the_answer(name):
    hints = EXERCISES[NAMES.index(name)].hints
    assert len(hints) >= 3 and len(set(hints)) == len(hints)
    assert "?" in hints[0]
    assert all(len(hint) > 40 for hint in hints)


@EVERY
@pytest.mark.parametrize("folder", ["exercises", "solutions"])
def test_run_as_a_script_it_says_what_to_type(folder, name):
    done = subprocess.run([sys.executable, f"{folder}/{name}.py"], cwd=ROOT, capture_output=True, text=True)
    assert done.returncode == 1
    assert done.stderr.strip() == f"Run it from the project's folder as a module: .venv/bin/python -m exercises.{name}"


@EVERY
def test_both_sides_have_the_same_demonstration(name):
    trees = [ast.parse((ROOT / folder / f"{name}.py").read_text()) for folder in ("exercises", "solutions")]
    ours, theirs = (
        [ast.unparse(node) for node in tree.body if isinstance(node, ast.FunctionDef) and node.name == "demonstration"]
        for tree in trees
    )
    assert ours == theirs and len(ours) == (not name.startswith("ex09"))


def run(command: list[str]) -> str:
    """What it prints; nothing of it on stderr, since a learner's screen stays clean."""
    environment = {"PATH": "/usr/bin:/bin", "OMP_WAIT_POLICY": "PASSIVE"}
    done = subprocess.run([sys.executable, *command], cwd=ROOT, capture_output=True, text=True, env=environment)
    assert (done.returncode, done.stderr) == (0, "")
    return done.stdout


@pytest.mark.timeout(600)
@EVERY
def test_a_demonstration_runs(name, whole):
    """Quickly, on a small part of the model and the text, and both sides in one process."""
    modules = [f"{folder}.{name}" for folder in ("exercises", "solutions")]
    if name == "ex09_quantize_script":
        done = subprocess.run([sys.executable, "-m", modules[0]], cwd=ROOT, capture_output=True, text=True)
        assert done.returncode != 0 and "ex09: main" in done.stderr
        return
    if whole:
        stub, solution = (run(["-m", module]) for module in modules)
    else:
        _, stub, solution = run(["-c", ON_LITTLE, *modules]).split("\f")
    assert "not there yet: ex" in stub
    assert "not there yet" not in solution and len(solution.splitlines()) >= 3
