"""A class to try things on: `python -m tests.project.a_class FOLDER` writes twenty submissions.

Twelve are honest, at different stages and with mistakes that people make; eight want a grade without the work.
"""

import shutil
import sys
from pathlib import Path

from grader.results.paths import ROOT
from tests.project.sandbox.test_hostile import SAMPLES, exercise_of

NAMES = sorted(file.stem for file in (ROOT / "solutions").glob("ex*.py"))
WRONG, RIGHT = ROOT / "tests" / "misconceptions", ROOT / "tests" / "project" / "right_answers"
SOLVED = {"ada": 0, "ben": 1, "cem": 2, "dot": 3, "eli": 4, "fay": 5, "gus": 6, "hal": 7, "ida": 8, "jon": 9}
MISTAKEN = {"kim": ("ex01_round_trip", "floors"), "dot": ("ex02_per_channel", "reduces_the_axis")}
HOSTILE = (
    *("exit_at_import", "endless_loop", "output_flood", "fork_chain"),
    *("memory_growth", "ignores_signals", "patches_pytest", "slows_the_baseline"),
)
EVERYBODY = (*SOLVED, "kim", "lou", *HOSTILE)


def hand_in(name: str, folder: Path) -> Path:
    """Writes one submission into a folder; returns its own."""
    own = folder / name
    own.mkdir(parents=True)
    for number, exercise in enumerate(NAMES):
        solved = number < SOLVED.get(name, 9 if name in MISTAKEN else 0)
        file = ROOT / ("solutions" if solved else "exercises") / f"{exercise}.py"
        if name == "lou":  # all of it, in another way than the solutions
            others = sorted((RIGHT / exercise).glob("*.py"))
            file = others[len(others) // 2]
        if MISTAKEN.get(name, ("",))[0] == exercise:
            file = WRONG / exercise / f"{MISTAKEN[name][1]}.py"
        shutil.copyfile(file, own / file.name.replace(file.stem, exercise))
    if name in HOSTILE:
        sample = SAMPLES / f"{name}.py"
        shutil.copyfile(sample, own / f"{exercise_of(sample).name}.py")
    return own


if __name__ == "__main__":
    for everybody in EVERYBODY:
        hand_in(everybody, Path(sys.argv[1]))
