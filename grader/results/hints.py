"""The ladder of hints of an exercise: one a call, from a question to nearly the answer. Remembers how far one got."""

import json

from grader.results.paths import ROOT
from grader.results.safe_files import write_whole
from grader.results.syllabus import Exercise

MEMORY = ROOT / ".kata" / "hints.json"  # {"ex03_error_growth": 2}: how many hints were shown


def next_hint(exercise: Exercise) -> str:
    """The hint after the one that was shown last; all of them when there are no more."""
    shown, total = _recall(), len(exercise.hints)
    number = shown.get(exercise.name, 0) + 1
    if number > total:
        every = "\n\n".join(f"{k}. {hint}" for k, hint in enumerate(exercise.hints, 1))
        return f"{exercise.short}: there are no more hints. All {total} again:\n\n{every}"
    _remember(shown | {exercise.name: number})
    what = "The next one" if number < total else "All of them again"
    return (
        f"{exercise.short}, hint {number} of {total}:\n\n{exercise.hints[number - 1]}\n\n"
        f"{what}: nox -s check -- --hint {exercise.short}"
    )


def _recall() -> dict[str, int]:
    try:
        shown = json.loads(MEMORY.read_text())
        return {name: int(number) for name, number in shown.items()}
    except (OSError, ValueError, TypeError, AttributeError):
        return {}  # nothing shown yet, or a file that someone else wrote: begin with the first hint


def _remember(shown: dict[str, int]) -> None:
    MEMORY.parent.mkdir(exist_ok=True)
    write_whole(MEMORY, json.dumps(shown, indent=2) + "\n")
