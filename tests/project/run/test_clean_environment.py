"""What a verdict rests on cannot be switched off from outside: variables, another folder, a sitecustomize."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from grader.results.clean_environment import OURS, clean_environment
from grader.results.paths import ROOT
from tests.project import graded

WRONG = ROOT / "tests" / "misconceptions" / "ex01_round_trip" / "floors.py"
SITE = "import builtins, sys\nprint('customized')\nsys.modules['pytest_timeout'] = None\n"
VARIABLES = {
    "PYTHONOPTIMIZE": "2",  # removes assertions
    "PYTHONWARNINGS": "error",
    "PYTHONDONTWRITEBYTECODE": "",
    "PYTEST_ADDOPTS": "--collect-only",
    "PYTEST_PLUGINS": "there_is_no_such_plugin",
    "PYTEST_THEME": "no-such-theme",
    "OMP_NUM_THREADS": "1",
    "OMP_WAIT_POLICY": "ACTIVE",
    "TORCH_LOGS": "no-such-log",
    "TORCH_CPP_LOG_LEVEL": "INFO",
    "HYPOTHESIS_PROFILE": "no-such-profile",
    "KMP_AFFINITY": "disabled",
}


@pytest.fixture
def outside(tmp_path) -> dict[str, str]:
    """All of these at once, and a folder in front of Python's path that customizes every interpreter."""
    hooks = tmp_path / "hooks"
    hooks.mkdir()
    (hooks / "sitecustomize.py").write_text(SITE)
    return os.environ | VARIABLES | {"PYTHONPATH": os.pathsep.join([str(hooks), str(ROOT)])}


@pytest.fixture
def foreign(tmp_path) -> Path:
    """A folder with files that Python and pytest would take for their own."""
    folder = tmp_path / "foreign"
    folder.mkdir()
    for name in ("conftest.py", "torch.py", "numpy.py", "hypothesis.py", "psutil.py"):
        (folder / name).write_text("raise SystemExit('hooked')\n")
    (folder / "pytest.ini").write_text("[pytest]\naddopts = --collect-only\n")
    return folder


@pytest.fixture
def submission(tmp_path) -> Path:
    (folder,) = graded.standing_in(tmp_path, [WRONG])
    source = folder / "ex01_round_trip.py"
    source.write_text(source.read_text() + "\n\nimport os\nprint('environment:', sorted(os.environ))\n")
    return folder


def verdicts(file: Path) -> list[tuple[str, str]]:
    (exercise,) = json.loads(file.read_text())["exercises"]
    return [(function["name"], function["outcome"]) for function in exercise["functions"]]


def run(command: list[str], **options) -> subprocess.CompletedProcess:
    return subprocess.run([sys.executable, *command], capture_output=True, text=True, **options)


@pytest.mark.timeout(300)
def test_a_wrong_answer_stays_wrong_whatever_is_set_outside(tmp_path, outside, foreign, submission):
    quiet, loud = tmp_path / "quiet.json", tmp_path / "loud.json"
    command = ["-m", "grader.commands.check", "ex01", "--submission", str(submission), "--seed", "7", "--json"]
    assert run([*command, str(quiet)], cwd=ROOT).returncode == 1
    # -P: the current folder does not come first; PYTHONPATH is how the command is found from there at all
    done = run(["-P", *command, str(loud)], cwd=foreign, env=outside)
    assert done.returncode == 1, done.stdout + done.stderr
    assert verdicts(loud) == verdicts(quiet)
    assert len({outcome for _, outcome in verdicts(quiet)}) == 2  # some pass, and some fail


@pytest.mark.whole
@pytest.mark.timeout(300)
def test_nor_in_the_sandbox(tmp_path, outside, foreign, submission):
    quiet, loud = tmp_path / "quiet", tmp_path / "loud"
    command = ["-m", "grader.commands.grade", str(submission), "--only", "ex01", "--seed", "7", "--out"]
    for out, where in ((quiet, {"cwd": ROOT}), (loud, {"cwd": foreign, "env": outside})):
        done = run(["-P"] * (out == loud) + [*command, str(out)], **where)
        assert done.returncode == 0, done.stdout + done.stderr
    assert verdicts(loud / "kata.json") == verdicts(quiet / "kata.json")
    assert len({outcome for _, outcome in verdicts(quiet / "kata.json")}) == 2


def test_a_child_sees_a_few_variables_and_no_other(tmp_path, outside, submission):
    out = tmp_path / "result.json"
    command = ["-m", "grader.commands.check", "ex01", "--submission", str(submission), "--json", str(out)]
    run(command, cwd=ROOT, env=outside | {"LC_MESSAGES": "C", "SECRET": "x", "LANG": "C.UTF-8"})
    printed = next(f["output"] for e in json.loads(out.read_text())["exercises"] for f in e["functions"] if f["output"])
    names = set(printed.partition("[")[2].partition("]")[0].replace("'", "").split(", "))
    # set by the interpreter (LC_CTYPE), by pytest and torch (KMP_*), and by us: the seed for the order of sets
    own = {"LC_CTYPE", "PYTEST_CURRENT_TEST", "PYTEST_VERSION", "PYTHONHASHSEED", "HYPOTHESIS_STORAGE_DIRECTORY"}
    allowed = {"PATH", "HOME", "TMPDIR", "LANG", "TERM", "NO_COLOR", "LD_LIBRARY_PATH", "KATA_TEXTS", "LC_MESSAGES"}
    strange = {name for name in names - own - allowed - set(OURS) if not name.startswith("KMP_")}
    assert not strange and "SECRET" not in names


def test_what_is_passed_on_is_named():
    outside = {
        "PATH": "/bin",
        "LC_ALL": "C",
        "DYLD_LIBRARY_PATH": "/x",
        "PYTHONPATH": "/y",
        "OMP_WAIT_POLICY": "ACTIVE",
    }
    kept = {"PATH": "/bin", "LC_ALL": "C", "DYLD_LIBRARY_PATH": "/x"}
    assert clean_environment(outside) == kept | OURS
