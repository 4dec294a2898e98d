"""CONTRIBUTING.md names only what there is, has a row for every package, and stays short."""

import re

import pytest

import noxfile
from grader.commands import bench
from grader.results.paths import ROOT
from tests.project import verified

TEXT = (ROOT / "CONTRIBUTING.md").read_text(encoding="utf-8")
TOP = {path.name for path in ROOT.iterdir()}
WORDS = {word for code in re.findall(r"`([^`\n]+)`", TEXT) for word in re.findall(r"[\w./-]+", code)}
PATHS = sorted(word for word in WORDS if "/" in word and word.partition("/")[0] in TOP)
EXAMPLE = "ex01_round_trip"  # stands for NAME


def test_every_path_exists():
    files = [ROOT / path.replace("NAME", EXAMPLE) for path in PATHS]
    assert [file for file in files if not file.exists() and file != verified.FILE] == []  # a command writes that one


def test_paths_are_found_in_the_text():
    assert {"grader/run/runner.py", "tests/test_NAME.py", ".ci/run", "tests/project/hostile/"} <= {*PATHS}
    assert {"noxfile.py", "conftest.py", "pyproject.toml", "constraints.txt"} <= WORDS & TOP


def test_every_command_exists():
    sessions = {name for name, value in vars(noxfile).items() if hasattr(value, "venv_backend")}
    assert set(re.findall(r"nox -s (\w+)", TEXT)) <= sessions
    assert set(re.findall(r"nox -s bench -- (\w+)", TEXT)) == set(bench.SECTIONS)
    for module in re.findall(r"python -m ([\w.]+)", TEXT):
        assert (ROOT / f"{module.replace('.', '/').replace('NAME', EXAMPLE)}.py").is_file(), module


@pytest.mark.parametrize("option", sorted(set(re.findall(r"nox -s tests -- (--\w+)", TEXT))))
def test_every_option_of_the_tests_exists(pytestconfig, option):
    assert hasattr(pytestconfig.option, option.removeprefix("--"))


@pytest.mark.parametrize("name, file", re.findall(r"`([A-Za-z]\w+_\w+|[A-Z_]{5,})`[^`]{1,15}`([\w/]+\.py)`", TEXT))
def test_every_name_stands_in_its_file(name, file):
    assert re.search(rf"\b{name}\b", (ROOT / file).read_text())


def test_the_map_has_a_row_for_every_package():
    rows = set(re.findall(r"^\| `([\w/]+)/` ", TEXT, re.MULTILINE))
    packages = {path.parent.relative_to(ROOT).as_posix() for path in (ROOT / "grader").glob("*/__init__.py")}
    assert packages == {row for row in rows if row.startswith("grader/")}
    assert {"exercises", "solutions", "llm", "tests", "tests/misconceptions", "tests/project"} <= rows


def test_every_table_is_one():
    """A line of dashes below its first, and as many columns everywhere: else Markdown shows it as one paragraph."""
    for table in re.findall(r"(?:^\|.*\n)+", TEXT, re.MULTILINE):
        head, dashes, *rows = table.splitlines()
        assert re.fullmatch(r"(\|-+:?)+\|", dashes), head
        assert {row.count("|") for row in rows} == {head.count("|")} == {dashes.count("|")}, head


def test_it_is_short():
    lines = TEXT.splitlines()
    assert len(lines) <= 200 and max(map(len, lines)) <= 120
