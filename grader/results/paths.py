"""Where the parts of the project are, for every process alike."""

from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
EXERCISES = ROOT / "exercises"
SOLUTIONS = ROOT / "solutions"
TESTS = ROOT / "tests"


def shortened(file: str | Path) -> str:
    """A path as a learner would type it: relative to the project's folder where it lies below it."""
    return str(Path(file).relative_to(ROOT)) if Path(file).is_relative_to(ROOT) else str(file)
