"""`nox -s check` as typed: exit codes, options, and what bad input and bad code get."""

import json
import os
import re
import shutil
import signal
import subprocess
import sys
import time
from textwrap import indent

import pytest

from grader.commands import check
from grader.results import hints, passed_before, syllabus
from grader.results.failure import Failure
from grader.results.model import CaseResult, ExerciseResult, RunResult, combine
from grader.results.paths import ROOT
from grader.run import runner, suite_process

SOLUTIONS = ROOT / "solutions"
EX01 = "ex01_round_trip.py"
LOOP = """while True:
    try:
        pass
    except:
        pass
"""


@pytest.fixture(autouse=True)
def plain_surroundings(monkeypatch, tmp_path):
    monkeypatch.chdir(ROOT)
    monkeypatch.setenv("COLUMNS", "80")
    monkeypatch.delenv("NO_COLOR", raising=False)
    monkeypatch.setattr(hints, "MEMORY", tmp_path / ".kata" / "hints.json")
    monkeypatch.setattr(passed_before, "MEMORY", tmp_path / ".kata" / "passed.json")


@pytest.fixture
def typed(capsys):
    """What a command line of `nox -s check --` gives: exit code, standard output, standard error."""

    def run(*argv) -> tuple[int, str, str]:
        code = check.main([str(argument) for argument in argv])
        return code, *capsys.readouterr()

    return run


@pytest.fixture
def submission(tmp_path):
    """A folder with the solution of ex01, and more code at its end."""

    def write(more: str = "", instead: str = ""):
        folder = tmp_path / "my-answers, week 1.final"
        folder.mkdir()
        (folder / EX01).write_text((instead or (SOLUTIONS / EX01).read_text()) + f"\n\n{more}")
        return folder

    return write


@pytest.fixture
def pretend(monkeypatch):
    """Nothing is run: every exercise ends with the given outcome."""
    asked = []

    def given(outcome: str, kind: str = ""):
        def run(exercises, submission, shown, seed, progress, quick_first):
            asked.extend(exercise.name for exercise in exercises)
            case = CaseResult(outcome=outcome, kind=kind, failure=Failure(summary="why"))
            results = [
                ExerciseResult(
                    name=e.name, title=e.title, track=e.track, points=10, functions=[combine("test_it", 10, [case])]
                )
                for e in exercises
            ]
            return RunResult(submission=shown, seed=seed, suite="abc", exercises=results)

        monkeypatch.setattr(check, "run", run)
        return asked

    return given


def one_line(text: str) -> str:
    """text, which has to be one line that begins with `error:`."""
    assert text.startswith("error: ")
    assert text.count("\n") == 1
    return text


def squeezed(text: str) -> str:
    """text without blanks and borders, so that it does not matter where a line was broken."""
    return re.sub(r"[\s│]+", "", text)


# ---- options ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "outcome, code", [("passed", 0), ("undecided", 0), ("failed", 1), ("timeout", 1), ("error", 1)]
)
@pytest.mark.parametrize("argv", [[], ["ex01"], ["--track", "core"]], ids=" ".join)
def test_exit_code(typed, pretend, outcome, code, argv):
    pretend(outcome)
    assert typed(*argv)[0] == code


def test_a_broken_installation_is_exit_code_2(typed, pretend):
    pretend("error", kind="environment")
    assert typed("ex01")[0] == 2


def test_only_what_was_asked_for_runs(typed, pretend):
    asked, exercises = pretend("passed"), syllabus.load()
    typed()
    assert asked == [exercise.name for exercise in exercises]
    asked.clear()
    typed("--track", "core")
    assert asked == [exercise.name for exercise in exercises if exercise.track == "core"]
    for name in ("ex01", "ex01_round_trip"):
        asked.clear()
        typed(name)
        assert asked == ["ex01_round_trip"]


@pytest.mark.parametrize(
    "argv, numbers",
    [
        (["ex01", "ex02"], [1, 2]),
        (["ex03", "ex01", "ex03_error_growth"], [1, 3]),
        (["ex02-ex05"], [2, 3, 4, 5]),
        (["ex02_per_channel-ex03"], [2, 3]),
        (["ex04-ex04"], [4]),
        (["ex01", "ex03-ex04", "ex04", "ex06"], [1, 3, 4, 6]),
        (["ex01", "--seed", "7", "ex03", "--plain", "ex05"], [1, 3, 5]),
        (["--seed", "7", "ex02"], [2]),
    ],
    ids=lambda value: " ".join(map(str, value)),
)
def test_several_exercises_may_be_named(typed, pretend, argv, numbers):
    asked = pretend("passed")
    code, out, _ = typed(*argv)
    assert code == 0
    assert [int(name[2:4]) for name in asked] == numbers
    board = re.findall(r"^ \S (ex\d\d)  ", out, re.MULTILINE)
    assert [int(name[2:]) for name in board] == numbers
    assert len(numbers) == 1 or "core exercises" in out


@pytest.mark.parametrize("outcome, code", [("passed", 0), ("undecided", 0), ("failed", 1)])
def test_several_names_count_whatever_their_track(typed, pretend, outcome, code):
    pretend(outcome)
    beyond = next(exercise.short for exercise in syllabus.load() if exercise.track == "beyond")
    assert typed(beyond, "ex01")[0] == code


def test_what_is_named_waits_for_nothing(typed, submission):
    """ex01 fails, and ex02, which needs it, is run all the same."""
    folder = submission("def round_trip(w, bits=8):\n    return w\n")
    shutil.copy(SOLUTIONS / "ex02_per_channel.py", folder)
    code, out, _ = typed("ex01", "ex02", "--submission", folder)
    assert code == 1
    assert re.search(r"ex01 .* failed", out)
    assert re.search(r"ex02 .* passed", out)
    assert "waiting" not in out


def test_json_and_seed(typed, pretend, tmp_path):
    pretend("passed")
    file = tmp_path / "result.json"
    code, out, _ = typed("--json", file, "--seed", 4_000_000_000, "--submission", "solutions")
    result = RunResult.from_json(file.read_text())
    assert (code, result.seed, result.submission) == (0, 4_000_000_000, "solutions")
    assert json.loads(file.read_text())["exercises"][0]["state"] == "passed"
    assert "--seed 4000000000" in out
    assert os.listdir(tmp_path) == ["result.json"]


def test_every_run_has_another_seed(typed, pretend):
    pretend("passed")
    seeds = {re.search(r"seed (\d+)", typed("ex01")[1])[1] for _ in range(3)}
    assert len(seeds) == 3


@pytest.mark.parametrize("argv, variable", [(["--plain"], None), ([], "NO_COLOR")], ids=["--plain", "NO_COLOR"])
def test_plain(typed, pretend, monkeypatch, argv, variable):
    pretend("failed")
    assert not typed()[1].isascii()
    if variable:
        monkeypatch.setenv(variable, "1")
    assert typed(*argv)[1].isascii()


def test_hints_go_on_and_never_run_out(typed):
    ladder = syllabus.load()[0].hints
    for number, hint in enumerate(ladder, 1):
        code, out, _ = typed("--hint", "ex01")
        assert code == 0
        assert f"{number} of {len(ladder)}" in out
        assert " ".join(hint.split()) in " ".join(out.split())
    for _ in range(2):  # then all of them, as often as one likes
        code, out, _ = typed("--hint", "ex01")
        assert code == 0
        assert "no more hints" in out
        assert all(" ".join(hint.split()) in " ".join(out.split()) for hint in ladder)
    assert "1 of" in typed("--hint", "ex02_per_channel")[1]


def test_hints_begin_again_when_their_memory_is_no_memory(typed):
    hints.MEMORY.parent.mkdir()
    hints.MEMORY.write_text('["what?"]')
    assert "hint 1 of" in typed("--hint", "ex01")[1]
    assert "hint 2 of" in typed("--hint", "ex01")[1]


@pytest.mark.parametrize(
    "argv, says",
    [
        (["ex1"], "did you mean ex01?"),
        (["ex02_per_chanel"], "did you mean ex02?"),
        (["exercises/ex03_error_growth.py"], "did you mean ex03?"),
        (["nothing"], "There are ex01, ex02"),
        (["--hint", "ex0"], "no exercise is called 'ex0'"),
        (["ex01", "ex2"], "did you mean ex02?"),
        (["ex01-ex99"], "no exercise is called 'ex99'"),
        (["ex01-5"], "ex01-5 is not a range: name both ends in full, as in ex01-ex05"),
        (["ex01-"], "ex01- is not a range"),
        (["ex05-ex01"], "the range ex05-ex01 runs backwards: type ex01-ex05"),
        (["ex03-error-growth"], "did you mean ex03?"),
        (["ex01", "--track", "core"], "ex01 and --track"),
        (["ex01-ex03", "--hint", "ex02"], "ex01-ex03 and --hint"),
        (["--submission", "no/such/folder"], "no/such/folder does not exist"),
        (["--submission", "pyproject.toml"], "pyproject.toml is a file"),
        (["--json", "no/such/folder/result.json"], "create the folder no/such/folder"),
        (["--json", "grader"], "grader: it is a folder"),
        (["--seed", "seven"], "'seven' is not a whole number"),
        (["--seed", str(2**32)], "0 to 2**32 - 1"),
        (["--track", "middle"], "'core', 'beyond'"),
        (["--colour"], "--help"),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, list) else "",
)
def test_a_wrong_command_line_gets_one_line_and_runs_nothing(typed, pretend, argv, says):
    asked = pretend("passed")
    code, out, error = typed(*argv)
    assert code == 2
    assert says in one_line(error)
    assert (out, asked) == ("", [])


def nox(*arguments: str) -> subprocess.CompletedProcess:
    command = [sys.executable, "-m", "nox", *arguments]
    return subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=60)


@pytest.mark.parametrize(
    "typed, meant",
    [
        ("-s check ex01", "nox -s check -- ex01"),
        ("-s check ex01 ex02 -- --plain", "nox -s check -- ex01 ex02 --plain"),
        ("-s ex03", "nox -s check -- ex03"),
        ("--sessions bench claims", "nox -s bench -- claims"),
    ],
)
def test_arguments_without_the_dashes_before_them_name_the_right_command(typed, meant):
    done = nox(*typed.split())
    assert done.returncode == 2
    assert one_line(done.stderr).endswith(f"before a command's arguments: {meant}\n")
    assert done.stdout == ""


def test_what_nox_itself_refuses_is_shown_in_readme():
    done = nox("ex01")
    assert done.returncode == 2
    said = done.stderr.splitlines()[-1].partition(": ")[2]
    assert said == "error: Unknown argument(s) 'ex01'."
    assert f"nox: {said}" in (ROOT / "README.md").read_text()


def test_nox_passes_arguments_and_exit_codes_through():
    done = nox("-s", "check", "--", "ex1")
    assert done.returncode == 2
    assert "did you mean ex01?" in done.stderr


# ---- real runs -------------------------------------------------------------------------------------------------------


@pytest.mark.whole
def test_an_empty_submission_is_not_started_and_the_rest_waits(typed, tmp_path):
    code, out, _ = typed("--submission", tmp_path, "--track", "core")
    assert code == 1
    assert re.search("ex01 .* not started", out)
    assert re.search("ex02 .* waiting for ex01", out)
    assert squeezed(f"not started: there is no {EX01} in {tmp_path}") in squeezed(out)


def test_a_right_answer_in_a_folder_with_any_name(typed, submission, tmp_path):
    file = tmp_path / "result.json"
    megabyte = "right = dequantize\ndef dequantize(q, scale):\n    print('x' * 2**20)\n    return right(q, scale)\n"
    code, out, _ = typed("ex01", "--submission", submission(megabyte), "--json", file, "--seed", 5)
    assert code == 0
    assert "10/10" in out
    result = RunResult.from_json(file.read_text())
    assert result.host.torch
    assert result.earned == 10
    assert file.stat().st_size < 100_000


@pytest.mark.parametrize(
    "happens, state, says",
    [
        pytest.param(
            LOOP, "timeout", "`dequantize` did not finish within 5 s of processor time", marks=pytest.mark.whole
        ),
        pytest.param(
            "__import__('ctypes').string_at(0)",
            "crashed",
            "crashed with a segmentation fault",
            marks=pytest.mark.whole,
        ),
        pytest.param("__import__('os')._exit(3)", "crashed", "was closed with exit code 3", marks=pytest.mark.whole),
        pytest.param("raise SystemExit(4)", "failed", "SystemExit: 4", marks=pytest.mark.whole),
        ("breakpoint()", "failed", ".venv/bin/python -m pytest tests/test_ex01_round_trip.py"),
    ],
    ids=["loop in a bare except", "segmentation fault", "os._exit", "sys.exit", "breakpoint"],
)
def test_what_one_test_does_costs_that_test_only(typed, submission, monkeypatch, happens, state, says):
    monkeypatch.setattr(runner, "TEST_SECONDS", 5)
    code = "right = dequantize\ndef dequantize(q, scale):\n    if isinstance(scale, int):\n"  # in one test only
    folder = submission(code + indent(happens, " " * 8) + "\n    return right(q, scale)\n")
    code, out, _ = typed("ex01", "--submission", folder)
    assert code == 1
    assert re.search(rf"ex01 .* {state} +9/10", out)
    assert out.count(" passed ") == 9
    assert re.search(rf"The way back is the code times the scale.*{state}", out)
    assert squeezed(says) in squeezed(out)
    if state in ("timeout", "crashed") and "_exit" not in happens:  # that closes the interpreter without a word
        line = int(re.search(rf"{EX01}:(\d+):", squeezed(out))[1])
        assert (folder / EX01).read_text().splitlines()[line - 1].strip() in happens


def test_an_endless_import_is_given_up_at_once(typed, submission, monkeypatch):
    monkeypatch.setattr(runner, "TEST_SECONDS", 3)
    began = time.monotonic()
    code, out, _ = typed("ex01", "--submission", submission(instead="def f():\n" + indent(LOOP, "    ") + "f()\n"))
    assert code == 1
    assert re.search("ex01 .* timeout +0/10", out)
    assert f"importing {EX01} did not finish within 3 s of processor time" in out
    assert time.monotonic() - began < 30


def test_a_syntax_error_has_file_line_and_caret(typed, submission):
    code, out, _ = typed("ex01", "--submission", submission(instead="x = 1\ny = (1 +* 2)\n"))
    assert code == 1
    assert re.search(r"ex01 .* error +0/10", out)
    assert squeezed(f"{EX01}:2: invalid syntax") in squeezed(out)
    assert re.search(r"y = \(1 \+\* 2\)[ │]*\n[ │]+\^", out)


def test_a_missing_text_is_the_installations_fault(typed, monkeypatch, tmp_path):
    monkeypatch.setenv("KATA_TEXTS", str(tmp_path))
    code, out, _ = typed("ex06", "--submission", "solutions")
    assert code == 2
    assert out.count("This installation has a problem") == 1


@pytest.mark.parametrize("state", ["missing", "corrupt"])
def test_a_bad_checkpoint_is_the_installations_fault(tmp_path, state):
    ignore = shutil.ignore_patterns("checkpoint", "project", "misconceptions", "__pycache__")
    for folder in ("exercises", "grader", "llm", "solutions", "tests"):
        shutil.copytree(ROOT / folder, tmp_path / folder, ignore=ignore)
    for file in ("conftest.py", "pyproject.toml"):
        shutil.copy(ROOT / file, tmp_path)
    if state == "corrupt":
        shutil.copytree(ROOT / "llm" / "checkpoint", tmp_path / "llm" / "checkpoint")
        with (tmp_path / "llm" / "checkpoint" / "gpt.safetensors").open("r+b") as file:
            file.seek(-100, os.SEEK_END)
            file.write(b"\1" * 8)
    command = [sys.executable, "-m", "grader.commands.check", "ex05", "--submission", "solutions", "--plain"]
    checked = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, timeout=100)
    assert checked.returncode == 2
    assert checked.stdout.count("This installation has a problem") == 1
    assert "git checkout -- llm/checkpoint" in " ".join(checked.stdout.split())


def test_tests_that_cannot_start_are_one_line(typed, monkeypatch, tmp_path):
    for name in ("grader", "llm", "tests", "exercises"):
        (tmp_path / name).symlink_to(ROOT / name)
    (tmp_path / "hypothesis.py").write_text("raise ImportError('no hypothesis here')")
    monkeypatch.setattr(suite_process, "ROOT", tmp_path)
    code, _, error = typed("ex01")
    assert code == 2
    assert "no hypothesis here" in one_line(error)


@pytest.mark.parametrize("how, code", [(signal.SIGINT, 130), (signal.SIGKILL, -9)], ids=["Ctrl-C", "kill -9"])
def test_a_stopped_run_leaves_no_process_behind(submission, tmp_path, how, code):
    note = tmp_path / "pid"
    folder = submission(instead=f"import os\nopen({str(note)!r}, 'w').write(str(os.getpid()))\nwhile True:\n    pass\n")
    command = [sys.executable, "-m", "grader.commands.check", "--submission", str(folder)]
    with subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as process:
        _until(lambda: note.exists() and note.read_text())
        process.send_signal(how)
        _, error = process.communicate(timeout=30)
    assert process.returncode == code
    assert "Traceback" not in error
    _until(lambda: not _is_alive(int(note.read_text())))


def _until(condition) -> None:
    deadline = time.monotonic() + 60
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.05)


def _is_alive(pid: int) -> bool:
    state = subprocess.run(["ps", "-o", "stat=", "-p", str(pid)], capture_output=True, text=True).stdout.strip()
    return bool(state) and not state.startswith("Z")  # a zombie has ended, and waits to be counted


@pytest.mark.whole
def test_nothing_is_left_in_the_folder_for_temporary_files(submission, tmp_path):
    (tmp_path / "temporary").mkdir()
    command = [
        sys.executable,
        "-m",
        "grader.commands.check",
        "ex01",
        "--submission",
        str(submission("import os; os._exit(3)")),
    ]
    done = subprocess.run(command, cwd=ROOT, env=os.environ | {"TMPDIR": str(tmp_path / "temporary")})
    assert done.returncode == 1 and not list((tmp_path / "temporary").iterdir())
