"""Who imports whom: each package of grader/ only those that the table names, and torch only where it is needed."""

import ast
import builtins
import importlib
import json
import subprocess
import sys
from collections import defaultdict
from collections.abc import Iterator
from pathlib import Path

import pytest

from grader.results.paths import ROOT

GRADER = ROOT / "grader"
PACKAGES = sorted(folder.name for folder in GRADER.iterdir() if (folder / "__init__.py").is_file())
COMMANDS = sorted(
    file.stem for file in (GRADER / "commands").glob("*.py") if file.stem not in ("__init__", "command_line")
)
EVERYTHING = (*(f"grader.{name}" for name in PACKAGES), "llm")
MAY_IMPORT = {  # besides itself, the standard library and what is installed
    "results": (),
    "suite": ("grader.results", "llm"),
    "sandbox": ("grader.suite", "grader.results", "llm"),
    "run": ("grader.results",),
    "screen": ("grader.results",),
    "page": ("grader.results",),
    "classroom": ("grader.run", "grader.results", "grader.sandbox.policy"),
    "bench": ("grader.suite", "grader.results", "llm"),
    "commands": EVERYTHING,
}
OURS = ("grader", "llm", "tests", "exercises", "solutions")
# The worker imports the suites' own classes of modules, so that it can rebuild what a suite sends it.
# A new exercise is a maintainer's affair: what it needs is what the project's own tests ask for.
EXCEPTIONS = {
    ("grader/sandbox/worker_main.py", "tests.specimens"),
    ("grader/commands/new.py", "tests.project.exercise_parts"),
    ("grader/commands/new.py", "tests.project.verified"),
}
WITHOUT_TORCH = ("run", "results", "screen", "page", "classroom")
POLICY = "grader.sandbox.policy"
LINES = 3  # of the docstring that says what lives in a package


def files_of(folder: Path) -> Iterator[Path]:
    """Its modules, but for those that travel to grading platforms and run there alone."""
    return (file for file in sorted(folder.rglob("*.py")) if "platform_scripts" not in file.parts)


def imports_of(file: Path) -> set[str]:
    """The modules of this project that a file imports, wherever in it: a.b for `import a.b`, `from a import b`."""
    found: set[str] = set()
    for node in ast.walk(ast.parse(file.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            assert not node.level, f"{file.relative_to(ROOT)}:{node.lineno} imports relatively: write the full name"
            inside = {f"{node.module}.{alias.name}" for alias in node.names}
            found |= {name if _is_module(name) else node.module for name in inside}
    return {name for name in found if name.partition(".")[0] in OURS}


def _is_module(name: str) -> bool:
    path = ROOT.joinpath(*name.split("."))
    return path.with_suffix(".py").is_file() or (path / "__init__.py").is_file()


def is_within(module: str, packages: tuple[str, ...]) -> bool:
    return any(module == package or module.startswith(f"{package}.") for package in packages)


def test_every_package_has_its_rule():
    assert set(PACKAGES) <= set(MAY_IMPORT)
    assert {file.name for file in GRADER.glob("*.py")} == {"__init__.py"}, "a module belongs into a package"


@pytest.mark.parametrize("package", PACKAGES)
def test_a_package_imports_what_it_may_and_nothing_else(package):
    allowed = (f"grader.{package}", *MAY_IMPORT[package])
    wrong = {
        (str(file.relative_to(ROOT)), module)
        for file in files_of(GRADER / package)
        for module in imports_of(file)
        if not is_within(module, allowed)
    }
    assert wrong - EXCEPTIONS == set()


def test_the_model_knows_nothing_of_the_grader():
    wrong = {(str(f.relative_to(ROOT)), m) for f in files_of(ROOT / "llm") for m in imports_of(f) if m[:3] != "llm"}
    assert wrong == set()


def test_what_the_policy_imports_is_light():
    """A class is graded from a process without torch, which has to know which sandbox there is."""
    pending, seen = [POLICY], set()
    while pending:
        module = pending.pop()
        seen.add(module)
        file = ROOT.joinpath(*module.split("."))
        file = file / "__init__.py" if file.is_dir() else file.with_suffix(".py")
        pending += [name for name in imports_of(file) if name not in seen]
    allowed = (POLICY, "grader.sandbox.landlock", "grader.sandbox.linux", "grader.sandbox.seccomp", "grader.results")
    assert not [module for module in seen if not is_within(module, allowed)]


# ---- torch -----------------------------------------------------------------------------------------------------------


def loaded_by(code: str) -> set[str]:
    """The modules in an interpreter that has run this."""
    code += "\nimport json, sys; sys.stderr.write('\\n' + json.dumps(sorted(sys.modules)))"
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    return set(json.loads(done.stderr.splitlines()[-1]))


@pytest.mark.parametrize("package", [name for name in WITHOUT_TORCH if name in PACKAGES])
def test_the_parents_packages_do_without_torch(package):
    files = [file for file in files_of(GRADER / package) if file.name != "__init__.py"]
    modules = [".".join(file.relative_to(ROOT).with_suffix("").parts) for file in files]
    assert modules
    loaded = loaded_by(f"import {', '.join(modules)}")
    assert set(modules) <= loaded and "torch" not in loaded and "numpy" not in loaded


@pytest.mark.parametrize("command", COMMANDS)
def test_help_is_there_without_torch(command):
    run = f"""
import runpy, sys
sys.argv = ["{command}", "--help"]
try:
    runpy.run_module("grader.commands.{command}", run_name="__main__")
except SystemExit as stop:
    assert not stop.code, stop.code
"""
    assert "torch" not in loaded_by(run)


# ---- names and docstrings --------------------------------------------------------------------------------------------


def test_every_package_says_what_lives_there():
    for name in PACKAGES:
        said = importlib.import_module(f"grader.{name}").__doc__ or ""
        assert len(said.strip().splitlines()) >= LINES, f"grader/{name}/__init__.py"
        assert said.strip().splitlines()[0].endswith("."), f"grader/{name}/__init__.py"
    assert (importlib.import_module("grader").__doc__ or "").strip()


def test_one_meaning_has_one_exception():
    """No two classes of exceptions have the same name, nor has any the name of one of Python's."""
    bases, places = defaultdict(set), defaultdict(list)
    for file in files_of(GRADER):
        for node in ast.walk(ast.parse(file.read_text(encoding="utf-8"))):
            if isinstance(node, ast.ClassDef):
                places[node.name].append(f"{file.relative_to(ROOT)}:{node.lineno}")
                bases[node.name] |= {ast.unparse(base).rpartition(".")[2] for base in node.bases}
    raised = {name for name in places if _is_exception(name, bases)}
    assert {"UsageError", "SyllabusError", "WrongAnswer", "Undecided", "WorkerLost"} <= raised
    assert not {name: places[name] for name in raised if len(places[name]) > 1}
    assert not raised & set(dir(builtins))


def _is_exception(name: str, bases: dict[str, set[str]], below: frozenset[str] = frozenset()) -> bool:
    """Whether a class of ours is an exception, by the names of its ancestors."""
    others = bases.get(name, set()) - below
    return any(base.endswith(("Error", "Exception")) or _is_exception(base, bases, below | {name}) for base in others)
