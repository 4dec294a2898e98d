"""What a learner sees: the board over all exercises, or one exercise in full, and what to do next.

Every colour has a word beside it. Plain is ASCII, without colour and boxes.
"""

import os
import re
import shlex
import sys
import unicodedata
from collections.abc import Iterator, Sequence
from pathlib import Path

from rich.box import ROUNDED
from rich.console import Console, Group, RenderableType
from rich.padding import Padding
from rich.panel import Panel
from rich.table import Table
from rich.text import Text

from grader.results.failure import Failure
from grader.results.model import FINISHED, CaseResult, ExerciseResult, FunctionResult, RunResult
from grader.results.syllabus import TRACKS, Exercise
from grader.results.text import clean, short_name

WIDEST = 100  # columns; longer lines are hard to read
BAR = 20  # columns of the bar of finished exercises
STATE = 11  # columns of the longest state, "not started"
LABEL = 10  # columns of the labels in a message: called, got, expected, think
MESSAGE_LINES = 12  # shown of one failing test
LINE_CHARACTERS = 300  # shown of one line of it
PRINTED_LINES = 4
OTHER_TESTS = 2  # explained in short on the board, after the first failing one
HEADLINE = ("size ratio", "speedup", "drift")  # the figures on the board; an exercise shows all of its own

LOOKS = {  # of a state: its mark and its colour
    "passed": ("✓", "green"),
    "undecided": ("~", "yellow"),
    "failed": ("✗", "red"),
    "timeout": ("✗", "red"),
    "crashed": ("✗", "red"),
    "error": ("✗", "red"),
    "not started": ("○", "cyan"),
    "waiting": ("·", "bright_black"),
    "not run": ("·", "bright_black"),
}

ASCII = str.maketrans("✓✗○·━─—–−×≈µ‘’“”", "+xo.#----x~u''\"\"") | str.maketrans(
    {"→": "->", "…": "...", "√": "sqrt", "≤": "<=", "≥": ">=", "≠": "!=", "±": "+/-", "ŵ": "w^", "σ": "sigma"}
)


def is_plain(wished: bool) -> bool:
    """Whether to keep to ASCII: by wish, by NO_COLOR (no-color.org), or because the output can show nothing else."""
    encoding = (sys.stdout.encoding or "ascii").lower().replace("-", "")
    return wished or bool(os.environ.get("NO_COLOR")) or os.environ.get("TERM") == "dumb" or encoding != "utf8"


class Board:
    def __init__(self, plain: bool):
        self.plain = plain
        self.console = Console(color_system=None if plain else "auto", highlight=False, emoji=False, markup=False)
        self.console.width = min(self.console.width, WIDEST)

    def print(self, *parts: RenderableType) -> None:
        with self.console.capture() as captured:
            for part in parts:
                self.console.print(self.text(part) if isinstance(part, str) else part)
        text = re.sub(" +$", "", captured.get(), flags=re.MULTILINE)
        print(text.replace("…", ".") if self.plain else text, end="", flush=True)  # rich's mark of what it cut off

    def text(self, content: str, style: str = "", **options) -> Text:
        """content without control characters, and in ASCII on a plain board."""
        content = clean(content).expandtabs(4)
        if self.plain:
            content = unicodedata.normalize("NFKD", content.translate(ASCII))
            content = "".join(c for c in content if not unicodedata.combining(c)).encode("ascii", "replace").decode()
        return Text(content, style="" if self.plain else style, **options)

    # ---- the two views ----------------------------------------------------------------------------------------------

    def show_all(self, result: RunResult, exercises: Sequence[Exercise]) -> None:
        """Every exercise in a line, then the first unfinished one and what to do about it."""
        self.print("", self._heading(result), "", *self._broken(result), self._rows(exercises, result.exercises), "")
        self.print(*self._totals(exercises, result.exercises))
        self.print(*self._figures({name: result.measured[name] for name in HEADLINE if name in result.measured}))
        self.print(*self._undecided(result), "")
        first = next((e for e in result.exercises if e.state not in (*FINISHED, "waiting")), None)
        if first and not result.broken:
            self.print(self._next(first, result), *self._commands(first, result, "all its tests"))
        elif not first and len(result.exercises) == len(exercises):
            self.print(self.text(" Everything here passes. Well done!", "bold green"))
        self.print(self._seed(result))

    def show_one(self, result: RunResult, entry: Exercise) -> None:
        """One exercise with all its tests, and every failure explained."""
        exercise = result.exercises[0]
        self.print("", self._heading(result), "", *self._broken(result))
        self.print(self._rows([exercise], [exercise], STATE), "")
        explained: set = {f.failure.cause for f in exercise.functions if f.failure and f.kind == "environment"}
        for function in exercise.functions:
            self.print(self._test(function))
            for case in self._explained_cases(function):
                told = case is not function and self._was_told(case, explained)
                if case is not function:
                    self.print(self._law(case, "as above" if told else case.state))
                if not told:
                    self._tell(case, explained)
        self.print("", *self._figures(exercise.measured))
        if exercise.state not in FINISHED and not result.broken:
            self.print(*(Padding(line, (0, 0, 1, 1)) for line in self._stubs(exercise, result)))
            self.print(*self._commands(exercise, result, "once more"))
        elif not result.broken:
            self.print(*self._onwards(entry, result))
        self.print(self._seed(result))

    def _explained_cases(self, function: FunctionResult) -> Sequence[CaseResult]:
        """What to explain of a function that did not pass: each law of several that is broken, or the worst case."""
        if function.outcome in FINISHED or function.state == "not started" or not function.failure:
            return []
        broken = [law for law in function.laws if law.outcome not in FINISHED]
        same = len({(case.kind, case.failure and case.failure.cause) for case in broken}) <= 1
        return [function] if same and function.kind == "import" or not broken else broken

    def _was_told(self, case: CaseResult, explained: set) -> bool:
        """Whether the same cause, the same known mistakes or the same question stand further up."""
        return bool({case.failure.cause, _known(case), case.failure.think} & explained)

    def _tell(self, case: CaseResult, explained: set) -> None:
        """Explains a failure; what was explained before is only named."""
        cause = case.failure.cause
        if case.kind == "import" and cause in explained:
            return
        shows_case = case.kind != "import" and not case.is_law
        message = self._message(case, case.case if shows_case else "")
        if (
            _known(case) in explained
        ):  # one mistake is explained once: what it does to the other tests is seen in their titles
            message = self._labelled("matches", "the same as above")
        elif case.failure.think in explained:
            message = self._labelled("think", "the same as above")
        if cause in explained:
            message = self.text("the same as above", "bright_black")
        self.print(Padding(message, (0, 0, 0, 7), expand=False))
        explained |= {cause, _known(case), case.failure.think} - {""}

    def show_graded(self, result: RunResult, exercises: Sequence[Exercise]) -> None:
        """What an instructor wants to know of somebody else's work: no advice, and nothing to run."""
        self.print("", self._heading(result), "", *self._broken(result), self._rows(exercises, result.exercises), "")
        self.print(*self._totals(exercises, result.exercises))
        self.print(*self._figures({name: result.measured[name] for name in HEADLINE if name in result.measured}))
        self.print(*self._undecided(result), self.text(f" seed {result.seed}", "bright_black"))

    # ---- lines ------------------------------------------------------------------------------------------------------

    def _heading(self, result: RunResult) -> Text:
        return Text.assemble(
            self.text(" Quantization kata", "bold"), self.text(f" · {result.submission}", "bright_black")
        )

    def _broken(self, result: RunResult) -> Iterator[RenderableType]:
        """What no learner can mend by editing: said once, above everything else."""
        if result.broken:
            yield Padding(
                self.text(f"This installation has a problem: {result.broken}", "bold red"), (0, 0, 1, 1), expand=False
            )

    def _rows(
        self,
        exercises: Sequence[Exercise | ExerciseResult],
        results: Sequence[ExerciseResult],
        state_width: int | None = None,
    ) -> Table:
        done = {result.name: result for result in results}
        table = _columns(state_width)
        for exercise in exercises:
            result = done.get(exercise.name)
            state = result.state if result else "not run"
            mark, colour = LOOKS[state]
            faint = colour if state in ("waiting", "not run") else ""
            words = state if state != "waiting" else _waiting(result.waits_for)
            table.add_row(
                self.text(f" {mark} {short_name(exercise.name)}", colour),
                self.text(exercise.title, faint),
                self.text(words, colour),
                self.text(f"{result.earned if result else 0}/{exercise.points}", faint),
            )
        return table

    def _totals(self, exercises: Sequence[Exercise], results: Sequence[ExerciseResult]) -> Iterator[Text]:
        for track in TRACKS:
            on_track = [exercise for exercise in exercises if exercise.track == track]
            if on_track:
                finished = sum(result.state in FINISHED for result in results if result.track == track)
                earned = sum(result.earned for result in results if result.track == track)
                filled = BAR * finished // len(on_track)
                words = f"{finished} of {len(on_track)} {track} exercises"
                words += f" · {earned} of {sum(exercise.points for exercise in on_track)} points"
                full, empty = self.text("━" * filled, "green"), self.text("─" * (BAR - filled), "bright_black")
                yield Text.assemble(" ", full, empty, "  ", self.text(words, "bold"))

    def _figures(self, measured: dict[str, float]) -> Iterator[RenderableType]:
        if measured:
            lines = ["measured:"]
            for words in (f"{name} {_figure(name, value)}" for name, value in measured.items()):
                longer = f"{lines[-1]} · {words}".replace(": · ", ": ")
                lines[-1:] = [longer] if len(longer) < self.console.width - 4 else [f"{lines[-1]} ·", words]
            yield Padding(self.text("\n".join(lines)), (0, 0, 0, 1), expand=False)

    def _undecided(self, result: RunResult) -> Iterator[RenderableType]:
        for exercise in result.exercises:
            for function in exercise.functions:
                if function.outcome == "undecided":
                    note = f"undecided: {short_name(exercise.name)}, {_named(function)}: {function.reason}"
                    yield Padding(self.text(note, "yellow"), (0, 0, 0, 1), expand=False)

    def _seed(self, result: RunResult) -> Text:
        return self.text(f" seed {result.seed} · add --seed {result.seed} for the same inputs again", "bright_black")

    def _test(self, function: FunctionResult) -> Table:
        mark, colour = LOOKS[function.state]
        table = _columns(STATE)
        table.add_row(
            self.text(f"   {mark}", colour),
            self.text(_headline(function) if function.kind == "import" else function.title),
            self.text(function.state, colour),
            self.text(f"{function.earned}/{function.points}"),
        )
        return table

    def _law(self, case: CaseResult, words: str) -> Table:
        """One of several laws that a function holds: a line of its own, without points."""
        mark, colour = LOOKS[case.state]
        table = _columns(STATE)
        table.add_row(self.text(f"     {mark}", colour), self.text(case.case), self.text(words, colour), self.text(""))
        return table

    # ---- what to do -------------------------------------------------------------------------------------------------

    def _next(self, exercise: ExerciseResult, result: RunResult) -> RenderableType:
        """The failing tests of one exercise: the first one explained, some more in short."""
        failing = [f for f in exercise.functions if f.state not in (*FINISHED, "not started", "not run")]
        parts: list[RenderableType] = []
        for function in failing[: 1 + OTHER_TESTS]:
            if parts and function.failure.cause == failing[0].failure.cause:
                break  # one cause, explained once
            message = self._message(function, short=bool(parts))
            parts += [self.text(f"✗ {function.state}: {_headline(function)}", "red"), Padding(message, (0, 0, 0, 2))]
        unnamed = len(failing) - len(parts) // 2
        not_run = sum(function.state == "not run" for function in exercise.functions)
        if failing and failing[0].kind != "import" and (unnamed or not_run):
            more = [f"{_tests(unnamed)} more"] * bool(unnamed) + [f"{_tests(not_run)} not run"] * bool(not_run)
            parts.append(self.text(f"✗ and {', '.join(more)}", "red"))
        parts += self._stubs(exercise, result)
        heading = f"next: {short_name(exercise.name)}  {exercise.title}"
        if self.plain:
            return Group(self.text(heading), self.text("-" * len(heading)), *parts, self.text(""))
        return Panel(Group(*parts), title=self.text(heading, "bold"), title_align="left", box=ROUNDED)

    def _stubs(self, exercise: ExerciseResult, result: RunResult) -> Iterator[Text]:
        """Where to begin, or to go on."""
        stubs = sum(function.state == "not started" for function in exercise.functions)
        file = Path(result.submission) / f"{exercise.name}.py"
        if stubs and not file.is_file():
            yield self.text(f"○ not started: there is no {file.name} in {result.submission}", "cyan")
        elif stubs:
            lines = enumerate(file.read_text(encoding="utf-8", errors="replace").splitlines(), 1)
            todo = next((f":{number}, the first TODO" for number, line in lines if "TODO" in line), "")
            beginning = "not started" if stubs == len(exercise.functions) else f"{_tests(stubs)} not started"
            yield self.text(f"○ {beginning}: open {file}{todo}", "cyan")

    def _message(self, case: CaseResult, named: str = "", short: bool = False) -> Group:
        """What went wrong, in which case, and where to edit; in short: its first two lines.

        named: the case
        """
        failure = case.failure
        rows = [("case", named)] * bool(named) + _rows_of(failure)
        parts: list[RenderableType] = []
        for label, text in rows[: 2 if short else len(rows)]:
            lines = [_cut(line) for line in text.splitlines()]
            if label:
                style = "cyan" if label == "think" else ""
                parts += [self._labelled(label * (not k), line, style) for k, line in enumerate(lines[:MESSAGE_LINES])]
            else:
                parts += [
                    self.text(line, no_wrap=line[:1] == " ", overflow="ellipsis") for line in lines[:MESSAGE_LINES]
                ]
        if short:
            return Group(*parts)
        if prints := case.output.rstrip().splitlines():
            parts += [self._labelled("printed" * (not n), _cut(line)) for n, line in enumerate(prints[-PRINTED_LINES:])]
        learners = case.outcome != "undecided" and case.kind not in ("suite", "not run")
        if learners and case.file and not failure.frames:
            parts.append(self._labelled("edit", f"{case.file}:{case.line}" if case.line else case.file))
        return Group(*parts)

    def _labelled(self, label: str, value: str, style: str = "") -> Table:
        row = Table.grid()
        row.add_column(width=LABEL)
        row.add_column()
        row.add_row(self.text(label, "bright_black"), self.text(value, style))
        return row

    def _commands(self, exercise: ExerciseResult, result: RunResult, purpose: str) -> Iterator[Text]:
        short = short_name(exercise.name)
        return self._listed({_command(result, short): purpose, f"nox -s check -- --hint {short}": "a hint"})

    def _onwards(self, exercise: Exercise, result: RunResult) -> Iterator[Text]:
        """After an exercise that is done: what it does with the learner's own functions, and the next one."""
        rows = {_command(result): "what comes next"}
        if Path(result.submission) == Path("exercises"):
            demonstration = f".venv/bin/python -m exercises.{exercise.name} {exercise.arguments}".strip()
            rows = {demonstration: "see it at work"} | rows
        return self._listed(rows)

    def _listed(self, commands: dict[str, str]) -> Iterator[Text]:
        """Commands, each with what it is for where all of that fits."""
        width, words = max(map(len, commands)), max(map(len, commands.values()))
        for command, why in commands.items():
            fits = width + words + 6 <= self.console.width
            yield Text.assemble("   ", self.text(f"{command:<{width}}", "bold"), f"   {why}" if fits else "")


def _columns(state_width: int | None = None) -> Table:
    """Mark, title, state and points; the title goes on in the next line where there is no room."""
    table = Table.grid(padding=(0, 2, 0, 0), expand=True)
    table.add_column(no_wrap=True)
    table.add_column(ratio=1, overflow="fold")
    table.add_column(no_wrap=True, width=state_width)
    table.add_column(no_wrap=True, justify="right", min_width=5)
    return table


def _waiting(needs: list[str]) -> str:
    others = f" +{len(needs) - 1}" if len(needs) > 1 else ""
    return f"waiting for {short_name(needs[0])}{others}"


def _command(result: RunResult, arguments: str = "") -> str:
    """nox -s check with these arguments, over the same submission."""
    if Path(result.submission) != Path("exercises"):
        arguments += f" --submission {shlex.quote(result.submission)}"
    return f"nox -s check -- {arguments.strip()}" if arguments else "nox"


def _figure(name: str, value: float) -> str:
    if "drift" in name:
        return f"{value * 100:+.2f} %"
    if "ratio" in name or "speedup" in name:
        return f"{value:.2f}x"
    return f"{value:.2f}" if "perplexity" in name else f"{value:.3g}"


def _cut(line: str) -> str:
    return line if len(line) <= LINE_CHARACTERS else f"{line[:LINE_CHARACTERS]}…"


def _rows_of(failure: Failure) -> list[tuple[str, str]]:
    """(label, text) of what a learner reads."""
    rows = failure.rows()
    if failure.called and failure.raised:
        rows = [row for row in rows if row[0]]  # the summary repeats what was called
    return rows


def _known(case: CaseResult) -> str:
    """The known mistakes that a failure looks like; empty if there is none."""
    return ", ".join(case.misconceptions)


def _headline(function: FunctionResult) -> str:
    """What the test asks for, and with which parameters it failed; for a file that does not even import, just that."""
    if function.kind == "import":
        return f"{Path(function.file or '').name} cannot be imported"
    return f"{_named(function)} ({function.case})" if function.case else function.title


def _named(function: FunctionResult) -> str:
    """The title within a sentence."""
    return function.title.removesuffix(".")


def _tests(number: int) -> str:
    return f"{number} test" if number == 1 else f"{number} tests"
