"""The ladder of hints of an exercise: one a call, from a question to nearly the answer. Remembers how far one got."""

from grader.results.memory import FOLDER, recall, remember
from grader.results.syllabus import Exercise

MEMORY = FOLDER / "hints.json"  # {"ex03_error_growth": 2}: how many hints were shown


def next_hint(exercise: Exercise) -> str:
    """The hint after the one that was shown last; all of them when there are no more."""
    shown, total = recall(MEMORY, int), len(exercise.hints)
    number = shown.get(exercise.name, 0) + 1
    if number > total:
        every = "\n\n".join(f"{k}. {hint}" for k, hint in enumerate(exercise.hints, 1))
        return f"{exercise.short}: there are no more hints. All {total} again:\n\n{every}"
    remember(MEMORY, shown | {exercise.name: number})
    what = "The next one" if number < total else "All of them again"
    return (
        f"{exercise.short}, hint {number} of {total}:\n\n{exercise.hints[number - 1]}\n\n"
        f"{what}: nox -s check -- --hint {exercise.short}"
    )
