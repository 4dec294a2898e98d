"""What to hand out: `nox -s bundle -- students OUT` writes the folder that a class works in.

It has everything but solutions and the project's own tests. The wrong answers that diagnoses are made of travel as one
zip, tests/misconceptions.zip: open, they would read as near-solutions.
"""

import argparse
import re
import shutil
import sys
import zipfile
from pathlib import Path

from grader.syllabus import ROOT

FOR_STUDENTS = ("exercises", "llm", "grader", "tests")
FILES = ("LICENSE", "conftest.py", "noxfile.py", "pyproject.toml", ".gitignore", ".gitattributes")
NOT_FOR_STUDENTS = ("project", "misconceptions", "__pycache__", "*.pyc", ".*")
SECTIONS_LEFT_OUT = ("Solutions", "Teaching with it", "What was measured", "For maintainers")  # of the README
EPOCH = (1980, 1, 1, 0, 0, 0)  # one date for all files in the zip: equal contents, equal zip


class BundleError(ValueError):
    """Nothing was written; the message says what is in the way."""


def students(out: Path) -> None:
    """Writes a class's copy.

    out:    a folder that is not there yet, or is empty
    raises: BundleError
    """
    if out.exists() and (not out.is_dir() or any(out.iterdir())):
        raise BundleError(f"{out} exists and is not empty: name a new folder")
    if not (ROOT / "tests" / "misconceptions").is_dir():
        raise BundleError("this is a class's copy itself: bundle from the whole project")
    out.mkdir(parents=True, exist_ok=True)
    for folder in FOR_STUDENTS:
        shutil.copytree(ROOT / folder, out / folder, ignore=shutil.ignore_patterns(*NOT_FOR_STUDENTS))
    for name in FILES:
        shutil.copyfile(ROOT / name, out / name)
    (out / "README.md").write_text(_readme((ROOT / "README.md").read_text(encoding="utf-8")), encoding="utf-8")
    with zipfile.ZipFile(out / "tests" / "misconceptions.zip", "w", zipfile.ZIP_DEFLATED) as archive:
        folder = ROOT / "tests" / "misconceptions"
        for file in sorted(folder.glob("*/*.py")):
            archive.writestr(zipfile.ZipInfo(str(file.relative_to(folder)), EPOCH), file.read_bytes())


def _readme(text: str) -> str:
    """Without the sections that speak to others than learners."""
    sections = re.split(r"^(?=## )", text, flags=re.MULTILINE)
    return "".join(s for s in sections if s.partition("\n")[0].removeprefix("## ") not in SECTIONS_LEFT_OUT)


def main(argv: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="nox -s bundle --", description="Writes what to hand to a class.")
    parser.add_argument("kind", choices=["students"], help="students: the folder a class works in, without solutions")
    parser.add_argument("out", type=Path, metavar="OUT", help="a new folder")
    options = parser.parse_args(argv)
    try:
        students(options.out)
    except (BundleError, OSError) as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    print(f"{options.out}: hand it out as it is, or make it a git repository first (git init)")
    return 0


if __name__ == "__main__":
    sys.exit(main())
