"""What to hand out: a class's copy of the project, and what grading platforms build their autograders from.

Runs in the parent; a bundle says by its format which version of the project made it.
"""

import hashlib
import re
import shutil
import tempfile
import tomllib
import zipfile
from collections.abc import Sequence
from pathlib import Path

from grader.classroom.grade_submission import nothing
from grader.results.exports import gradescope as gradescope_json
from grader.results.model import FORMAT
from grader.results.paths import ROOT
from grader.results.syllabus import Exercise

FOLDERS = ("exercises", "llm", "grader", "tests")
FILES = ("LICENSE", "conftest.py", "noxfile.py", "pyproject.toml", "constraints.txt", ".gitignore", ".gitattributes")
LEFT_OUT = ("project", "misconceptions", "new.py", "__pycache__", "*.pyc", ".*")
SECTIONS_LEFT_OUT = ("Solutions", "Teaching with it", "What was measured", "For maintainers")  # of the README
SCRIPTS = ROOT / "grader" / "classroom" / "platform_scripts"
WEIGHTS = "gpt.safetensors"
EPOCH = (1980, 1, 1, 0, 0, 0)  # one date for all files in a zip: equal contents, equal zip
LARGEST = 10 << 20  # bytes that Classroom 50's runner fetches, compressed
NEXT = {
    "students": "hand it out as it is, or make it a git repository first (git init)",
    "gradescope": "upload it under Configure Autograder; give it 2 cores, 6 GB and 15 minutes",
    "classroom50": "copy it to CLASSROOM/autograders/ASSIGNMENT; the template is what `students` makes",
}


class BundleError(ValueError):
    """Nothing was written; the message says what is in the way."""


def students(out: Path) -> None:
    """Writes a class's copy.

    out:    a folder that is not there yet, or is empty
    raises: BundleError
    """
    _make(out)
    _copy_project(out)
    (out / "README.md").write_text(_readme((ROOT / "README.md").read_text(encoding="utf-8")), encoding="utf-8")


def gradescope(out: Path, exercises: Sequence[Exercise], seed: int, options: Sequence[str] = ()) -> Path:
    """Writes an autograder; returns the zip: out itself, or autograder.zip in it.

    exercises, seed: that will be graded
    options: of nox -s grade
    raises:  BundleError
    """
    file = out if out.suffix == ".zip" else out / "autograder.zip"
    if file.exists():
        raise BundleError(f"{file} exists: name a new one")
    with tempfile.TemporaryDirectory() as folder:
        top = Path(folder)
        _copy_project(top)
        shutil.copytree(ROOT / "solutions", top / "solutions", ignore=shutil.ignore_patterns(*LEFT_OUT))
        _write_settings(top, exercises, seed, options)
        for name in ("setup.sh", "run_autograder"):
            shutil.copy(SCRIPTS / name, top / name)
        file.parent.mkdir(parents=True, exist_ok=True)
        _zip(top, file)
    return file


def classroom50(out: Path, exercises: Sequence[Exercise], seed: int, options: Sequence[str] = ()) -> None:
    """Writes an assignment's autograder, without solutions: what lies there is published. So nothing can stand in.

    out:     a folder that is not there yet, or is empty
    exercises, seed: that will be graded
    options: of nox -s grade
    raises:  BundleError
    """
    _make(out)
    kata = out / "kata"
    kata.mkdir()
    _copy_project(kata)
    weights = kata / "llm" / "checkpoint" / WEIGHTS
    weights.with_name(f"{WEIGHTS}.sha256").write_text(hashlib.sha256(weights.read_bytes()).hexdigest() + "\n")
    weights.unlink()
    _write_settings(kata, exercises, seed, [*options, "--no-stand-in"])
    shutil.copyfile(SCRIPTS / "autograder.py", out / "autograder.py")


def _make(out: Path) -> None:
    if out.exists() and (not out.is_dir() or any(out.iterdir())):
        raise BundleError(f"{out} exists and is not empty: name a new folder")
    out.mkdir(parents=True, exist_ok=True)


def _copy_project(out: Path) -> None:
    """Everything but answers."""
    if not (ROOT / "tests" / "misconceptions").is_dir():
        raise BundleError("this is a class's copy itself: bundle from the whole project")
    for folder in FOLDERS:
        shutil.copytree(ROOT / folder, out / folder, ignore=shutil.ignore_patterns(*LEFT_OUT))
    for name in FILES:
        shutil.copyfile(ROOT / name, out / name)
    _zip(ROOT / "tests" / "misconceptions", out / "tests" / "misconceptions.zip", "*/*.py")


def _write_settings(out: Path, exercises: Sequence[Exercise], seed: int, options: Sequence[str]) -> None:
    """What the platforms' scripts read: the pins, the options, and what is said until something was graded."""
    groups = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["dependency-groups"]
    (out / "requirements.txt").write_text("\n".join(["-c constraints.txt", *groups["kata"]]) + "\n")
    (out / "requirements-text.txt").write_text("\n".join(groups["text"]) + "\n")
    (out / "options.txt").write_text("".join(f"{option}\n" for option in options))
    (out / "bundle-format.txt").write_text(f"{FORMAT}\n")
    blank = nothing(Path("submission"), exercises, seed, "nothing was graded: tell your teacher", "")
    (out / "not-graded.json").write_text(gradescope_json(blank))


def _zip(folder: Path, file: Path, pattern: str = "**/*") -> None:
    with zipfile.ZipFile(file, "w", zipfile.ZIP_DEFLATED) as archive:
        for source in sorted(path for path in folder.glob(pattern) if path.is_file()):
            entry = zipfile.ZipInfo(source.relative_to(folder).as_posix(), EPOCH)
            entry.external_attr = (0o755 if source.stat().st_mode & 0o100 else 0o644) << 16
            archive.writestr(entry, source.read_bytes(), zipfile.ZIP_DEFLATED)


def _readme(text: str) -> str:
    """Without the sections that speak to others than learners."""
    text = re.sub(r"^.*nox -s tests.*\n", "", text, flags=re.MULTILINE).replace("## Two commands", "## The command")
    sections = re.split(r"^(?=## )", text, flags=re.MULTILINE)
    return "".join(s for s in sections if s.partition("\n")[0].removeprefix("## ") not in SECTIONS_LEFT_OUT)
