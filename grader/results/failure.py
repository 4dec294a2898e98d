"""A failure as data: what was called, what came back, what was expected, and which known mistake it looks like.

Suites raise it, everything else carries it, and the views render it: nothing parses a rendered text back.
"""

from dataclasses import dataclass, field

from grader.results.text import clean


@dataclass(kw_only=True)
class Frame:
    """A line of the learner's own code."""

    file: str
    line: int
    function: str = ""
    text: str = ""  # the line itself

    def __post_init__(self):
        self.file, self.function, self.text = clean(self.file), clean(self.function), clean(self.text)

    def __str__(self) -> str:
        return f"{self.file}:{self.line}: {self.text}"


@dataclass(kw_only=True)
class Match:
    """A known mistake that fails in the same way."""

    name: str  # of its file in tests/misconceptions
    does: str  # what such an answer does: "rounds down"
    think: str  # the question that it leads to
    agree: str = ""  # how much of the result agrees: "all 3,072 codes agree"


@dataclass(kw_only=True)
class Failure:
    """What went wrong in one case of a test.

    summary: a sentence, where there is no call to tell of or more to say than the call
    raised:  the exception that came out of the learner's code
    also:    further inputs that fail in the same way
    case:    the parameters of the test, "int4" for instance
    frames:  the learner's own lines, from the exercise inwards
    notes:   what was added to the exception on its way
    """

    summary: str = ""
    called: str = ""
    got: str = ""
    expected: str = ""
    raised: str = ""
    think: str = ""
    also: list[str] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)
    matches: list[Match] = field(default_factory=list)
    case: str = ""
    frames: list[Frame] = field(default_factory=list)

    def __post_init__(self):
        """What a learner's code says is text in every view, and no order to a terminal."""
        for name in ("summary", "called", "got", "expected", "raised", "think", "case"):
            setattr(self, name, clean(getattr(self, name)))
        self.also, self.notes = [clean(text) for text in self.also], [clean(text) for text in self.notes]

    @property
    def question(self) -> str:
        """What to think about: the question of the known mistake, where there is one, before the test's own."""
        return self.matches[0].think if self.matches else self.think

    @property
    def looks_like(self) -> str:
        """The known mistakes in words; empty where there is none."""
        if not self.matches:
            return ""
        agree = f": {self.matches[0].agree}" if self.matches[0].agree else ""
        return f"an answer that {', or one that '.join(match.does for match in self.matches)}{agree}"

    @property
    def cause(self) -> tuple:
        """Equal for failures that tell of one thing: a crash is known by its lines, whatever was called."""
        if self.raised and self.frames:
            return ("raised", *((frame.file, frame.line) for frame in self.shown_frames), *self.notes)
        return (self.summary, self.called, self.got, self.expected, self.raised, *self.also)

    @property
    def shown_frames(self) -> list[Frame]:
        """The line of the exercise itself, and the innermost one."""
        return self.frames[:1] + self.frames[1:][-1:]

    def rows(self) -> list[tuple[str, str]]:
        """(label, text) in the order in which a person reads them; the summary has no label."""
        rows = [("", self.summary), ("called", self.called), ("raised", self.raised)]
        if self.raised or not self.called:  # a wrong result has a line to edit, and no line where it went wrong
            rows += zip(("at", "inside"), map(str, self.shown_frames), strict=False)
        rows += [("got", self.got), ("expected", self.expected)]
        rows += [("also", text) for text in self.also] + [("", text) for text in self.notes]
        rows += [("matches", self.looks_like), ("think", self.question)]
        return [(label, text) for label, text in rows if text]

    def text(self) -> str:
        """All rows as plain text."""
        return "\n".join(f"{label:<9} {text}" if label else text for label, text in self.rows())

    @property
    def first_line(self) -> str:
        return next((f"{label} {text}".strip().partition("\n")[0] for label, text in self.rows()), "")
