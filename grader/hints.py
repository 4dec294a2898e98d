"""The ladder of hints of an exercise: one a call, from a question to nearly the answer. Remembers how far one got."""

import json

from grader.results import write_whole
from grader.syllabus import ROOT, Exercise

MEMORY = ROOT / ".kata" / "hints.json"  # {"ex03_error_growth": 2}: how many hints were shown


def next_hint(exercise: Exercise) -> str:
    """The hint after the one that was shown last; the last one again when there are no more."""
    shown, total = _recall(), len(exercise.hints)
    number = shown.get(exercise.name, 0) + 1
    again = number > total
    number = min(number, total)
    _remember(shown | {exercise.name: number})
    if again:
        heading, after = f"{exercise.short}: there are no more hints. The last one again ({total} of {total}):", ""
    else:
        heading = f"{exercise.short}, hint {number} of {total}:"
        after = f"\n\nThe next one: nox -s check -- --hint {exercise.short}" if number < total else ""
    return f"{heading}\n\n{exercise.hints[number - 1]}{after}"


def _recall() -> dict[str, int]:
    try:
        shown = json.loads(MEMORY.read_text())
        return {name: int(number) for name, number in shown.items()}
    except (OSError, ValueError, TypeError, AttributeError):
        return {}  # nothing shown yet, or a file that someone else wrote: begin with the first hint


def _remember(shown: dict[str, int]) -> None:
    MEMORY.parent.mkdir(exist_ok=True)
    write_whole(MEMORY, json.dumps(shown, indent=2) + "\n")
