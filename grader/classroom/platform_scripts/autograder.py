"""Classroom 50 runs this in a student's checkout; it writes result.json and release-body.md there.

Beside it lies `kata`: the graded suites and what runs them, but no solutions, because Classroom 50 publishes all this
on a web page. The model's weights are too large for that page: they are taken from the checkout, if they are the right
ones. KATA_TORCH_INDEX may name another index for PyTorch, or none ("").

https://github.com/foundation50/classroom50/wiki/Advanced-Autograding
Exit code 0: result.json is there, whatever is in it; any other: nothing was graded.
"""

import hashlib
import os
import shutil
import stat
import subprocess
import sys
import venv
from pathlib import Path

KATA = Path(__file__).resolve().with_name("kata")
PYTHON = KATA / ".venv" / "bin" / "python"
WEIGHTS = Path("llm", "checkpoint", "gpt.safetensors")
CHECKSUM = KATA / "llm" / "checkpoint" / "gpt.safetensors.sha256"
FORMAT = "2"  # of the bundle, in its bundle-format.txt
TORCH_INDEX = "https://download.pytorch.org/whl/cpu"


def main() -> None:
    check_format()
    checkout = Path.cwd()
    take_weights(checkout)
    set_up()
    options = (KATA / "options.txt").read_text().splitlines()
    formats = ["--format", "classroom50", "--format", "markdown"]
    environment = {"OMP_WAIT_POLICY": "PASSIVE", "TORCH_CPP_LOG_LEVEL": "ERROR"} | os.environ
    command = [
        PYTHON,
        "-m",
        "grader.commands.grade",
        checkout,
        "--out",
        checkout,
        *formats,
        "--plain",
        *options,
    ]
    sys.exit(subprocess.run(command, cwd=KATA, env=environment).returncode)


def check_format() -> None:
    """This file and the folder beside it come from one bundle: what an earlier version made is not guessed at."""
    file = KATA / "bundle-format.txt"
    found = file.read_text().strip() if file.is_file() else "1"
    if found != FORMAT:
        remedy = "run `nox -s bundle -- classroom50` again and replace both"
        sys.exit(f"{KATA} has bundle format {found}, and this file needs {FORMAT}: {remedy}")


def take_weights(checkout: Path) -> None:
    """Copies the model's weights out of the checkout, where they are what they were when this was made."""
    source, target = checkout / WEIGHTS, KATA / WEIGHTS
    remedy = f"get {WEIGHTS} back from the assignment's template, and let allowed_files keep it"
    try:
        opened = os.open(source, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK)
    except OSError as error:
        sys.exit(f"the checkout has no {WEIGHTS} ({error.strerror}): {remedy}")
    with os.fdopen(opened, "rb") as file:
        if not stat.S_ISREG(os.fstat(opened).st_mode):
            sys.exit(f"{WEIGHTS} is no file: {remedy}")
        with target.open("wb") as copy:
            shutil.copyfileobj(file, copy)
    with target.open("rb") as copy:
        if hashlib.file_digest(copy, "sha256").hexdigest() != CHECKSUM.read_text().strip():
            target.unlink()
            sys.exit(f"{WEIGHTS} is not the one that was handed out: {remedy}")


def set_up() -> None:
    if PYTHON.exists():
        return
    index = os.environ.get("KATA_TORCH_INDEX", TORCH_INDEX)
    pip = [PYTHON, "-m", "pip", "install", "--quiet", "--no-input", "--disable-pip-version-check"]
    venv.create(KATA / ".venv", with_pip=True, symlinks=True)
    more = ["--extra-index-url", index] if index else []
    for arguments in ([*more, "-r", "requirements.txt"], ["--no-deps", "-r", "requirements-text.txt"]):
        subprocess.run([*pip, *arguments], cwd=KATA, check=True)


if __name__ == "__main__":
    main()
