"""Every command of the project; `nox --list` names them, and `nox` alone is the learner's: the board.

All of them share one environment, .venv. It is made when it is missing, and updated when the pins in pyproject.toml or
the versions in constraints.txt change. Nox has no option for that, so its sessions get no environment of their own.

PyPI's torch for Linux brings gigabytes of CUDA. On Linux without an NVIDIA driver, torch comes from PyTorch's own index
of small CPU builds, if that answers. KATA_TORCH_INDEX names another index instead; empty, it means PyPI alone.
"""

import sys

if sys.version_info < (3, 11) or sys.platform == "win32":
    sys.exit("error: the kata needs Python 3.11 or newer, on Linux or macOS (on Windows: inside WSL)")

import argparse
import contextlib
import fcntl
import hashlib
import itertools
import logging
import os
import shlex
import shutil
import subprocess
import threading
import tomllib
import urllib.request
from collections.abc import Iterator
from pathlib import Path

import nox

ROOT = Path(__file__).resolve().parent
VENV = ROOT / ".venv"
PYTHON = VENV / "bin" / "python"
CONSTRAINTS = ROOT / "constraints.txt"
LOCKED = ("kata", "tests")  # dependency groups that this file pins all the way down; others are installed alone
CPU_TORCH = "https://download.pytorch.org/whl/cpu"
PATIENCE = 2  # seconds that index may take to answer

nox.options.sessions = ["check"]
logging.getLogger("nox").addFilter(lambda record: "uv binary" not in record.getMessage())  # not needed, so not missed
command = nox.session(venv_backend="none")
whole = (ROOT / "tests" / "project").is_dir()  # else a class's copy, without what only maintainers need
maintainers = command if whole else lambda session: session


@command
def check(session: nox.Session) -> None:
    """The board: what passes, and what to do next. `-- ex03`: one exercise; `-- ex01-ex05`: several; `-- --help`."""
    run("-m", "grader.commands.check", *session.posargs)


@command
def doctor(session: nox.Session) -> None:
    """Is this machine fit for the kata? A line for each thing that it needs, with the remedy."""
    run("-m", "grader.commands.doctor", *session.posargs)


@command
def generate(session: nox.Session) -> None:
    """Text from the model at a bit width, rounded by your own functions once they pass: `-- --bits 4 "ROMEO:"`."""
    run("-m", "grader.commands.generate", *session.posargs)


@command
def bench(session: nox.Session) -> None:
    """Measurements that the README quotes: `-- claims`, the chapter's claims; `-- quality`, what every method costs."""
    others = ("tests",) if whole and "quality" in session.posargs else ()  # other people's grids, to compare with
    run("-m", "grader.commands.bench", *session.posargs, groups=("kata", "text", *others))


@maintainers
def grade(session: nox.Session) -> None:
    """Grades untrusted code in a sandbox: `-- SUBMISSION --out DIR`."""
    run("-m", "grader.commands.grade", *session.posargs)


@maintainers
def gradebook(session: nox.Session) -> None:
    """Grades a class, and goes on where it was stopped: `-- SUBMISSIONS --out DIR`."""
    run("-m", "grader.commands.gradebook", *session.posargs)


@maintainers
def bundle(session: nox.Session) -> None:
    """What to hand out: `-- students OUT`, the folder a class works in, without solutions."""
    run("-m", "grader.commands.bundle", *session.posargs)


@command
def train(session: nox.Session) -> None:
    """Trains the model again: hours on a CPU, and goes on where it was stopped."""
    run("-m", "llm.train", *session.posargs)


@maintainers
def mutate(session: nox.Session) -> None:
    """Small changes in the solutions, one at a time: does each suite notice? `-- ex03`: of one exercise."""
    run("-m", "tests.project.mutate", *session.posargs, groups=("kata", "text", "tests"))


@maintainers
def doors(session: nox.Session) -> None:
    """All answers, right and wrong, with and without the sandbox: do both say the same? `-- ex03`: of one exercise."""
    run("-m", "tests.project.exercises.test_doors", *session.posargs, groups=("kata", "text", "tests"))


@maintainers
def hostile(session: nox.Session) -> None:
    """Submissions that want a grade without the work, against a plain pytest autograder and against this one."""
    run("-m", "tests.project.side_by_side", *session.posargs, groups=("kata", "text", "tests"))


@maintainers
def tests(session: nox.Session) -> None:
    """The project's own tests, the quick ones. `-- --whole`: all; `-- --unverified`: all answers of what changed."""
    run("-m", "pytest", *tests_arguments(session.posargs), groups=("kata", "text", "tests"))


@maintainers
def new(session: nox.Session) -> None:
    """A new exercise's skeletons, and what is still missing: `-- ex17_name`."""
    run("-m", "grader.commands.new", *session.posargs, groups=("kata", "text", "tests"))


@maintainers
def lock(session: nox.Session) -> None:
    """Writes constraints.txt, the versions of all that the pins bring in. `-- --upgrade`: their newest versions."""
    parser = argparse.ArgumentParser(
        prog="nox -s lock --",
        allow_abbrev=False,
        description="Writes constraints.txt: the versions of everything that the pins in pyproject.toml bring in.",
    )
    parser.add_argument("--upgrade", action="store_true", help="their newest versions, not those in the file now")
    upgrade = ["--upgrade"] if parser.parse_args(session.posargs).upgrade else []
    project = _project()
    oldest = project["project"]["requires-python"].removeprefix(">=")
    chosen = [f"--group={group}" for group in LOCKED]
    # Universal: one file for every Python from the oldest on and for every system, with markers where versions differ.
    options = ["--universal", "--python-version", oldest, "--no-header", "--annotation-style=line", "--quiet", *upgrade]
    run("-m", "uv", "pip", "compile", *options, *chosen, "--output-file", str(CONSTRAINTS), groups=("lock",))
    CONSTRAINTS.write_text(lock_header(project) + CONSTRAINTS.read_text())
    print(f"{CONSTRAINTS.name} is current; the next command installs what changed.")


def meant(argv: list[str], sessions: set[str]) -> str:
    """The command that was meant where the `--` before a command's arguments is missing; empty if nothing is.

    argv:     what nox was given; it takes every word after -s for a session
    sessions: the names of all
    """
    own, arguments = (argv[: argv.index("--")], argv[argv.index("--") + 1 :]) if "--" in argv else (argv, [])
    flag = next((index for index, word in enumerate(own) if word in ("-s", "-e", "--session", "--sessions")), len(own))
    words = [*itertools.takewhile(lambda word: not word.startswith("-"), own[flag + 1 :])]
    if not set(words) - sessions:
        return ""
    if words[0] in sessions:
        command, *arguments = [*words, *arguments]
    elif words[0].startswith("ex"):
        command, arguments = "check", [*words, *arguments]
    else:
        return ""
    return shlex.join(["nox", "-s", command, "--", *arguments])


def tests_arguments(given: list[str]) -> list[str]:
    """What pytest gets for `nox -s tests -- given`."""
    one_process = {"-n", "-k", "-s", "--pdb", "--collect-only"} & {*given} or "::" in "".join(given)
    beside = [] if one_process else ["-n", "2", "--dist", "worksteal"]  # a process needs up to 3 GB of memory
    # Said aloud, because pytest takes the 7 of `--seed 7` for a path until it has read the folder's conftest.py.
    paths = [] if any((ROOT / word.partition("::")[0]).exists() for word in given) else ["tests/project"]
    return [*beside, *given, *paths]


def run(*arguments: str, groups: tuple[str, ...] = ("kata", "text")) -> None:
    """Runs .venv's Python, once these dependency groups are installed; a failure's exit code becomes nox's own."""
    prepare(groups)
    # Threads that wait for each other by spinning take ten times as long once another program wants a core; and one of
    # PyTorch's engines for quantized models warns of itself past Python, where nothing else could silence it.
    environment = {"OMP_WAIT_POLICY": "PASSIVE", "TORCH_CPP_LOG_LEVEL": "ERROR"} | _environment()
    process = subprocess.Popen([PYTHON, *arguments], cwd=ROOT, env=environment)
    while True:
        try:
            code = process.wait()
            break
        except KeyboardInterrupt:  # the command got it too, and has something to say before it ends
            continue
    if code:
        sys.exit(code if code > 0 else 128 - code)


def lock_header(project: dict) -> str:
    """The first lines of constraints.txt, which name what the rest was made from.

    project: the contents of pyproject.toml
    """
    sources = [project["project"]["requires-python"]]
    sources += [pin for group in LOCKED for pin in project["dependency-groups"][group]]
    return (
        "# Versions of everything that the pins in pyproject.toml bring in, for every supported Python and system.\n"
        f"# `nox -s lock` writes this file; the hash of those pins: {_hash(*sources)}\n"
    )


def _environment() -> dict[str, str]:
    """Ours, without what changes how Python and pytest run: PYTHONSAFEPATH hides the project from itself, for one."""
    return {name: value for name, value in os.environ.items() if not name.startswith(("PYTHON", "PYTEST_"))}


def prepare(groups: tuple[str, ...]) -> None:
    """Makes .venv hold the pins of these groups; when it does already, this costs a look at a few small files."""
    pins = _project()["dependency-groups"]
    if not any(_is_stale(group, pins[group]) for group in groups):
        return
    with _one_at_a_time():
        stale = [group for group in groups if _is_stale(group, pins[group])]  # another nox may have been quicker
        if stale:
            print("Setting up .venv with PyTorch and a few small packages: a minute or two, this once.", flush=True)
        if not (PYTHON.exists() and _packages().joinpath("pip").is_dir()):
            _say("creating .venv")
            _call(sys.executable, "-m", "virtualenv", "--clear", "--no-periodic-update", str(VENV))
        for group in stale:
            _stamp(group).unlink(missing_ok=True)  # an installation that stops half-way leaves none
            _install(group, pins[group])
            _stamp(group).write_text(_wanted(group, pins[group]))
        if stale:
            _say("")


def _install(group: str, requirements: list[str]) -> None:
    options = ["--constraint", str(CONSTRAINTS)] if group in LOCKED else ["--no-deps"]
    if any(requirement.startswith("torch==") for requirement in requirements) and (index := _torch_index()):
        options += ["--extra-index-url", index]
    pip = ["-m", "pip", "--disable-pip-version-check", "--no-input", "install", "--progress-bar=off"]
    _call(str(PYTHON), *pip, *options, *requirements)


def _torch_index() -> str:
    """The index that torch may come from besides PyPI; empty if there is none."""
    if (chosen := os.environ.get("KATA_TORCH_INDEX")) is not None:
        return chosen
    if sys.platform != "linux" or _has_nvidia_driver():
        return ""
    if _answers(f"{CPU_TORCH}/torch/"):
        return CPU_TORCH
    _say("")
    print(f"{CPU_TORCH} does not answer, so PyTorch comes from PyPI: a download that may be gigabytes.", flush=True)
    return ""


def _has_nvidia_driver() -> bool:
    # The driver's kernel module shows itself in /proc. WSL uses Windows's driver, and has only the driver's tool.
    return Path("/proc/driver/nvidia").exists() or shutil.which("nvidia-smi") is not None


def _answers(url: str) -> bool:
    """Whether a server answers in time. It is asked in a thread, because looking up its name knows no timeout."""
    answers = []

    def ask() -> None:
        # Some servers refuse the name that urllib would give.
        request = urllib.request.Request(url, headers={"User-Agent": "quantization-kata"})
        with contextlib.suppress(Exception), urllib.request.urlopen(request, timeout=PATIENCE):
            answers.append(True)

    thread = threading.Thread(target=ask, daemon=True)
    thread.start()
    thread.join(PATIENCE)
    return bool(answers)


def _call(*command: str) -> None:
    """Runs a command with its latest line as the only sign of life; all that it said is shown if it fails."""
    pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.STDOUT, "text": True}
    with subprocess.Popen(command, env=_environment(), **pipes) as process:
        said = []
        for line in process.stdout:
            said.append(line)
            _say(line.strip())
    if process.returncode:
        _say("")
        print(*said, sep="", end="")
        sys.exit("error: .venv could not be set up, see above; run the same command to go on, once that is mended")


def _say(line: str) -> None:
    """Shows a line in place of the one before, where there is a terminal to do it on."""
    if sys.stdout.isatty():
        print(f"\r\033[K{line[:78]}", end="", flush=True)


@contextlib.contextmanager
def _one_at_a_time() -> Iterator[None]:
    folder = ROOT / ".kata"
    folder.mkdir(exist_ok=True)
    with (folder / "setup.lock").open("w") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            print("Another nox is setting up .venv: waiting for it.", flush=True)
            fcntl.flock(lock, fcntl.LOCK_EX)
        yield  # closing the file unlocks it


def _is_stale(group: str, requirements: list[str]) -> bool:
    stamp = _stamp(group)
    return not (PYTHON.exists() and stamp.is_file() and stamp.read_text() == _wanted(group, requirements))


def _stamp(group: str) -> Path:
    return _packages() / f"kata-{group}.stamp"


def _packages() -> Path:
    """Of the Python that runs nox: another version finds nothing here, and begins anew."""
    return VENV / "lib" / "python{}.{}".format(*sys.version_info) / "site-packages"


def _wanted(group: str, requirements: list[str]) -> str:
    return _hash(*requirements, *([CONSTRAINTS.read_text()] if group in LOCKED else []))


def _hash(*texts: str) -> str:
    return hashlib.sha256("\n".join(texts).encode()).hexdigest()


def _project() -> dict:
    return tomllib.loads((ROOT / "pyproject.toml").read_text())


if __name__ == "user_nox_module":  # the name under which nox imports this file
    names = {name for name, value in vars().items() if hasattr(value, "venv_backend")}
    if right := meant(sys.argv[1:], names):
        print(f"error: `--` is missing before a command's arguments: {right}", file=sys.stderr)
        sys.exit(2)
