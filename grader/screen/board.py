"""What a learner sees: the board over all exercises, or one exercise in full, and what to do next.

Every colour has a word beside it. Plain is ASCII, without colour and boxes.
"""

import os
import re
import shlex
import sys
import unicodedata
from collections.abc import Collection, Iterator, Sequence
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
OTHER_TESTS = 4  # named on the board, after the first failing one
SAME = "same cause"  # in the place of the state: what is explained already makes this test fail, too
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

    def show_all(self, result: RunResult, exercises: Sequence[Exercise], every: bool = False) -> None:
        """Every exercise in a line, then the first unfinished one and what to do about it.

        every: all failures of all exercises, in full
        """
        self.print("", self._heading(result), "", *self._broken(result), self._rows(exercises, result.exercises), "")
        self.print(*self._totals(exercises, result.exercises))
        self.print(*self._figures({name: result.measured[name] for name in HEADLINE if name in result.measured}))
        self.print(*self._undecided(result), *self._passed_before(result), "")
        unfinished = [e for e in result.exercises if e.state not in (*FINISHED, "waiting")]
        if unfinished and not result.broken:
            for exercise in unfinished if every else unfinished[:1]:
                self.print(self._next(exercise, result, every))
            self.print(*self._commands(unfinished[0], result, "all its tests"))
        elif not unfinished and len(result.exercises) == len(exercises):
            self.print(self.text(" Everything here passes. Well done!", "bold green"), *self._afterwards(result))
        self.print(self._seed(result))

    def show_one(self, result: RunResult, entry: Exercise, every: bool = False) -> None:
        """One exercise with all its tests, a line each, and its first failure in full.

        every: all failures in full, each below its test
        """
        exercise = result.exercises[0]
        self.print("", self._heading(result), "", *self._broken(result))
        self.print(self._rows([exercise], [exercise], STATE), "")
        if every:
            self._tests_in_full(exercise)
        else:
            self.print(*self._tests_in_a_line(exercise))
        self.print(*self._not_run(exercise), "", *self._figures(exercise.measured))
        if exercise.state in FINISHED and not result.broken:
            self.print(*self._onwards(entry, result))
        elif not result.broken:
            if not every and _failing(exercise):
                self.print(self._panel("the first failure", self._failures(exercise, others=0)))
            self.print(*(Padding(line, (0, 0, 1, 1)) for line in self._stubs(exercise, result)))
            self.print(*self._commands(exercise, result, "once more", _has_more(exercise) and not every))
        self.print(self._seed(result))

    def _tests_in_a_line(self, exercise: ExerciseResult) -> Iterator[RenderableType]:
        """Each test, and below it each law of several that is broken; a cause that the first failure has is named."""
        first: set = set()
        if all(function.kind == "import" for function in exercise.functions):
            return  # no test began: all that there is to say is said once
        for function in exercise.functions:
            cases = self._explained_cases(function)
            same = bool(first) and bool(cases) and all(_causes(case) & first for case in cases)
            yield self._test(function, SAME if same else function.state)
            for case in [] if same else cases:
                if case is not function:
                    yield self._law(case, SAME if _causes(case) & first else case.state)
                first = first or _causes(case)

    def _tests_in_full(self, exercise: ExerciseResult) -> None:
        explained: set = {f.failure.cause for f in exercise.functions if f.failure and f.kind == "environment"}
        for function in exercise.functions:
            self.print(self._test(function, function.state))
            for case in self._explained_cases(function):
                told = case is not function and case.failure.cause in explained
                if case is not function:
                    self.print(self._law(case, "as above" if told else case.state))
                if not told:
                    self._tell(case, explained)

    def _explained_cases(self, function: FunctionResult) -> Sequence[CaseResult]:
        """What to explain of a function that did not pass: each law of several that is broken, or the worst case."""
        if function.outcome in FINISHED or function.state in ("not started", "not run") or not function.failure:
            return []
        broken = [law for law in function.laws if law.outcome not in FINISHED]
        same = len({(case.kind, case.failure and case.failure.cause) for case in broken}) <= 1
        return [function] if same and function.kind == "import" or not broken else broken

    def _tell(self, case: CaseResult, explained: set) -> None:
        """Explains a failure; a cause, a known mistake and a question that stand further up are not told again."""
        failure = case.failure
        if case.kind == "import" and failure.cause in explained:
            return
        message = self._message(case, "" if case.kind == "import" or case.is_law else case.case, explained)
        if failure.cause in explained:
            message = self.text("the same as above", "bright_black")
        self.print(Padding(message, (0, 0, 0, 7), expand=False))
        explained |= {failure.cause, _known(case), failure.question} - {""}

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

    def _passed_before(self, result: RunResult) -> Iterator[RenderableType]:
        """What a learner need not fear for: it waits only because something before it broke."""
        names = [short_name(exercise.name) for exercise in result.exercises if exercise.passed_before]
        if names:
            again = "A waiting exercise runs again when the exercises that it builds on pass."
            note = f"Passed before, with the same code: {', '.join(names)}. {again}"
            yield Padding(self.text(note, "bright_black"), (0, 0, 0, 1), expand=False)

    def _seed(self, result: RunResult) -> Text:
        return self.text(f" seed {result.seed} · add --seed {result.seed} for the same inputs again", "bright_black")

    def _test(self, function: FunctionResult, words: str) -> Table:
        mark, colour = LOOKS[function.state]
        table = _columns(STATE)
        table.add_row(
            self.text(f"   {mark}", colour),
            self.text(_headline(function) if function.kind == "import" else function.title),
            self.text(words, colour),
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

    def _next(self, exercise: ExerciseResult, result: RunResult, every: bool) -> RenderableType:
        """An unfinished exercise: its first failure in full and the others in a line each, or all in full."""
        parts = [*self._failures(exercise, every=every), *self._stubs(exercise, result)]
        return self._panel(f"next: {short_name(exercise.name)}  {exercise.title}", parts)

    def _panel(self, heading: str, parts: Sequence[RenderableType]) -> RenderableType:
        if self.plain:
            return Group(self.text(heading), self.text("-" * len(heading)), *parts, self.text(""))
        return Panel(Group(*parts), title=self.text(heading, "bold"), title_align="left", box=ROUNDED)

    def _failures(
        self, exercise: ExerciseResult, others: int = OTHER_TESTS, every: bool = False
    ) -> list[RenderableType]:
        """The first failing case in full, so many others in a line each, and how many more there are.

        every: all of them in full
        """
        failing = _failing(exercise)
        parts: list[RenderableType] = []
        told: set = set()
        for function in failing if every else failing[:1]:
            for case in self._explained_cases(function)[: None if every else 1]:
                if _causes(case) & told:
                    continue
                told |= _causes(case)
                headline = case.case if case.is_law else _headline(function)
                parts.append(self.text(f"✗ {case.state}: {headline}", "red"))
                parts.append(Padding(self._message(case), (0, 0, 0, 2)))
        if every or not others or not failing or failing[0].kind == "import":
            return parts
        named = [f for f in failing[1:] if not _causes(f) & told]
        parts += [self.text(f"✗ {f.state}: {_headline(f)}", "red") for f in named[:others]]
        unnamed = len(failing) - 1 - len(named[:others])
        not_run = sum(function.state == "not run" for function in exercise.functions)
        more = [f"{_tests(unnamed)} more"] * bool(unnamed) + [f"{_tests(not_run)} not run"] * bool(not_run)
        return parts + [self.text(f"✗ and {', '.join(more)}", "red")] * bool(more)

    def _not_run(self, exercise: ExerciseResult) -> Iterator[Text]:
        """Why a test was not run, once for each reason."""
        reasons = dict.fromkeys(f.failure.summary for f in exercise.functions if f.state == "not run" and f.failure)
        for reason in reasons:
            yield Padding(self.text(reason, "bright_black"), (0, 0, 0, 3), expand=False)

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

    def _message(self, case: CaseResult, named: str = "", explained: Collection = ()) -> Group:
        """What went wrong, in which case, and where to edit.

        named:     the case
        explained: known mistakes and questions that were told before
        """
        failure = case.failure
        told = {"matches": _known(case), "think": failure.question}
        rows = [("case", named)] * bool(named) + [r for r in _rows_of(failure) if told.get(r[0]) not in explained]
        parts: list[RenderableType] = []
        for label, text in rows:
            lines = [_cut(line) for line in text.splitlines()]
            if label:
                style = "cyan" if label == "think" else ""
                parts += [self._labelled(label * (not k), line, style) for k, line in enumerate(lines[:MESSAGE_LINES])]
            else:
                parts += [
                    self.text(line, no_wrap=line[:1] == " ", overflow="ellipsis") for line in lines[:MESSAGE_LINES]
                ]
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

    def _commands(
        self, exercise: ExerciseResult, result: RunResult, purpose: str, more: bool = False
    ) -> Iterator[Text]:
        """more: whether other failures could be shown in full"""
        short = short_name(exercise.name)
        commands = {_command(result, short): purpose}
        commands |= {_command(result, f"{short} --all"): "every failure in full"} if more else {}
        return self._listed(commands | {f"nox -s check -- --hint {short}": "a hint"})

    def _afterwards(self, result: RunResult) -> Iterator[Text]:
        """What to do once everything passes."""
        if Path(result.submission) == Path("exercises"):
            yield from self._listed(
                {
                    'nox -s generate -- --bits 4 "ROMEO:"': "text from a model that your functions rounded",
                    "nox -s bench -- quality": "what each method costs, as README's table",
                }
            )

    def _onwards(self, exercise: Exercise, result: RunResult) -> Iterator[RenderableType]:
        """After an exercise that is done: what it does with the learner's own functions, and the next one."""
        if exercise.afterwards:
            yield Padding(self.text(exercise.afterwards), (1, 0, 1, 1), expand=False)
        rows = {_command(result): "what comes next"}
        if Path(result.submission) == Path("exercises"):
            demonstration = f".venv/bin/python -m exercises.{exercise.name} {exercise.arguments}".strip()
            rows = {demonstration: "see it at work"} | rows
        yield from self._listed(rows)

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


def _failing(exercise: ExerciseResult) -> list[FunctionResult]:
    """The tests that were run and did not pass."""
    return [f for f in exercise.functions if f.state not in (*FINISHED, "not started", "not run")]


def _has_more(exercise: ExerciseResult) -> bool:
    """Whether there is more to explain than the first failure, or something that was not run."""
    failing = _failing(exercise)
    cases = [law for f in failing for law in ([law for law in f.laws if law.outcome not in FINISHED] or [f])]
    not_run = any(f.state == "not run" for f in exercise.functions)
    return not_run or len({case.failure and case.failure.cause for case in cases}) > 1


def _causes(case: CaseResult) -> set:
    """What makes two failures one: their cause, or the known mistakes that they look like."""
    return {case.failure.cause, _known(case)} - {""} if case.failure else set()


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
