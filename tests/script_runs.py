"""Runs of ex09's command, as its suite asks for them: the six figures, checkpoints that nobody has seen before, and
runs that cannot succeed."""

import math
import random
import re
import tempfile
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from torch.nn import functional as F

from grader.suite.student import Ran, Student, named, origin
from grader.suite.verdict import raised
from llm.checkpoint import PATH, save_gpt
from llm.corpus import held_out_tokens
from llm.model import GPT, GPTConfig
from tests.messages import fail

COMMAND = "python -m exercises.ex09_quantize_script"
RUN, RUN_ON_P = f"{COMMAND} --out DIR", f"{COMMAND} --checkpoint P --out DIR"
NUMBER = r"(\d[\d,]*(?:\.\d+)?)"
FIGURES = {
    "fp32": rf"^\s*fp32:\s*{NUMBER}\s*KB\b",
    "int8": rf"^\s*int8:\s*{NUMBER}\s*KB\b",
    "ratio": rf"^\s*ratio:\s*{NUMBER}\s*x\b",
    "perplexity fp32": rf"^\s*perplexity fp32:\s*{NUMBER}(?!\S)",
    "perplexity int8": rf"^\s*perplexity int8:\s*{NUMBER}(?!\S)",
    "speedup": rf"^\s*speedup:\s*{NUMBER}\s*x\b",
}
BYSTANDER = "notes.txt"
TARGETS = 19_999  # that 20,000 tokens have
EARLY = 16_000  # tokens after which the unknown GPT meets some for the first time
SURPRISE = 100  # nats that each of these costs it
USAGE = re.compile(r"^usage:.*(\n\s+.*)*", re.MULTILINE)  # names every option, whatever is wrong
DIR_WORDS = r"|--out|\bout\b|output|folder|director(y|ies)|\bdir\b|destination"
NOTHING_IS_LEFT = "all files and folders as they were before"


@dataclass(frozen=True)
class Attempt:
    """A run that cannot succeed: how it ended, and what it changed in the scratch folder.

    what:     is wrong, in a learner's words
    names:    what its message must name, as a pattern; nothing: any message will do
    uncaught: the exception that main let pass
    """

    what: str
    names: str
    code: int = 0
    stderr: str = ""
    uncaught: str = ""
    new: list[str] = field(default_factory=list)
    deleted: list[str] = field(default_factory=list)
    changed: list[str] = field(default_factory=list)

    @property
    def called(self) -> str:
        return f"{RUN_ON_P}; {self.what}"

    @property
    def ended(self) -> str:
        """`exit code 0`, or the exception."""
        return self.uncaught or f"exit code {self.code}"

    @property
    def has_message(self) -> bool:
        """One of its own: neither silence nor a traceback."""
        return bool(self.stderr.strip()) and "Traceback" not in self.stderr

    @property
    def said(self) -> str:
        last = (self.stderr.strip().splitlines() or ["nothing"])[-1][:200]
        return self.uncaught or f"on stderr: {'a traceback that ends with ' * ('Traceback' in self.stderr)}{last}"

    @property
    def is_named(self) -> bool:
        return not self.names or bool(re.search(self.names, USAGE.sub("", self.stderr), re.IGNORECASE))

    @property
    def left(self) -> str:
        """What is not as it was before; nothing where all is."""
        kinds = {"new": self.new, "deleted": self.deleted, "changed": self.changed}
        return "; ".join(f"{kind}: {', '.join(names[:4])}" for kind, names in kinds.items() if names)


def run(student: Student, argv: list[str], called: str = RUN_ON_P, **conditions: Any) -> Ran:
    """student.run, whose exceptions name the call without temporary paths."""
    with named(called):
        return student.run(argv, **conditions)


def attempt(student: Student, what: str, argv: list[str], names: str = "", **conditions: Any) -> Attempt:
    """A run that cannot succeed. main may let an exception pass: that is one of the mistakes."""
    files, before = student.files, _snapshot(student.files)
    code, stderr, uncaught = 1, "", ""
    try:
        ran = student.run(argv, **conditions)
        code, stderr = ran.code, _without_paths(ran.stderr, files)
    except Exception as error:
        came_from = origin(error)
        if came_from is None or isinstance(error, NotImplementedError):
            raise
        line = f" in line {came_from.line}" if came_from.line else ""
        uncaught = f"{_without_paths(raised(error), files)}, an error{line} that main does not catch"
    after, out = _snapshot(files), argv[-1].removeprefix(f"{files.path()}/")
    changed = {name for name in before.keys() & after.keys() if before[name] != after[name]}
    sets = (after.keys() - before.keys(), before.keys() - after.keys(), changed)
    return Attempt(what, names, code, stderr, uncaught, *(_seen_from(out, names) for names in sets))


def bad_inputs(student: Student, checkpoint: str, earlier: str) -> list[Attempt]:
    """The runs whose arguments are wrong.

    checkpoint: one that is fine; earlier: the folder with the results of an earlier run
    """
    files = student.files
    good = PATH.read_bytes()
    half = files.write("half.safetensors", good[: len(good) // 2])
    tiny = GPT(GPTConfig(vocab_size=64, n_layer=1, n_head=2, n_embd=32))
    other = files.write("other.safetensors", saved(tiny))
    taken = files.write("taken", b"a file")
    files.write("blocked/model_int8.pt/keep", b"someone's")
    new, deeper, earlier = (files.path(folder) for folder in ("new", "new/deeper", earlier))
    runs = [
        ("P does not exist", ["--checkpoint", files.path("missing.safetensors"), "--out", new], r"missing|checkpoint"),
        ("P is cut short", ["--checkpoint", half, "--out", deeper], r"half|checkpoint"),
        ("P is cut short, DIR has earlier results", ["--checkpoint", half, "--out", earlier], r"half|checkpoint"),
        ("--out is not given", ["--checkpoint", checkpoint], ""),
        ("P has a vocabulary of 64 tokens", ["--checkpoint", other, "--out", deeper], r"other|vocab|token|checkpoint"),
        ("DIR is a file", ["--checkpoint", checkpoint, "--out", taken], "taken" + DIR_WORDS),
        ("DIR is below a file", ["--checkpoint", checkpoint, "--out", f"{taken}/below"], "taken|below" + DIR_WORDS),
        (
            "DIR/model_int8.pt is a folder",
            ["--checkpoint", checkpoint, "--out", files.path("blocked")],
            "blocked|model_int8" + DIR_WORDS,
        ),
    ]
    return [attempt(student, *each) for each in runs]


def failed_writes(student: Student, checkpoint: str, earlier: str) -> list[Attempt]:
    """The runs that cannot write all that they have to.

    checkpoint: one whose int8 file may be the larger one; earlier: the folder with the results of an earlier run on it
    """
    files = student.files
    files.write(f"printing/{BYSTANDER}", b"someone's")
    fp32, int8 = (files.size(f"{earlier}/model_{name}.pt") for name in ("fp32", "int8"))
    full, room_for_one = min(fp32, int8) // 2, (fp32 + int8) // 2
    runs = [
        ("the disk is full", "full/deeper", {"largest_file": full}),
        ("the disk is full, DIR has earlier results", earlier, {"largest_file": full}),
        ("the disk has room for one of the two files", "for one", {"largest_file": room_for_one}),
        ("standard output is on a full disk (`> /dev/full`), DIR exists", "printing", {"prints": False}),
    ]
    return [
        attempt(student, what, ["--checkpoint", checkpoint, "--out", files.path(folder)], **conditions)
        for what, folder, conditions in runs
    ]


def check_it_can_succeed(ran: Ran, called: str) -> None:
    if ran.code != 0:
        fail(called, ended(ran), "exit code 0", "Does the command succeed where nothing is wrong?")


def check_all(runs: list[Attempt], fine: Any, got: Any, expected: str, think: str = "") -> None:
    """Whether all of these runs are fine; if not, the first is told in full and the others in a line each."""
    wrong = [run for run in runs if not fine(run)]
    if wrong:
        also = [f"{run.what}: {got(run)}" for run in wrong[1:]]
        fail(wrong[0].called, got(wrong[0]), expected, think, also)


def ended(ran: Ran) -> str:
    said = ran.stderr.strip()[-300:]
    return f"exit code {ran.code}" + f"; stderr: {said}" * bool(said)


def figures_of(ran: Ran, called: str) -> dict[str, float]:
    """What a run printed, by name."""
    found = {name: re.search(pattern, ran.stdout, re.MULTILINE) for name, pattern in FIGURES.items()}
    missing = [name for name in found if not found[name]]
    if missing and ran.code != 0:
        fail(called, ended(ran), "exit code 0, and six lines")
    if missing:
        printed = (ran.stdout[:800] + ran.stderr[:400]).rstrip() or "nothing"
        six = "fp32: ... KB, int8: ... KB, ratio: ...x, perplexity fp32: ..., perplexity int8: ..., speedup: ...x"
        fail(called, f"no line `{missing[0]}: ...`. It printed:\n{printed}", f"six lines: {six}")
    figures = {name: float(match[1].replace(",", "")) for name, match in found.items()}
    for name, figure in figures.items():
        if figure == 0:
            fail(called, f"{name}: 0", "a number above 0")
    return figures


def check_there(student: Student, name: str, called: str) -> None:
    """Whether the command left this file, and no link in its place: whoever copies DIR wants what is in it."""
    folder, _, file = name.rpartition("/")
    names = student.files.names(folder)
    if file not in names:
        fail(called, f"in DIR: {', '.join(names[:8]) or 'nothing'}", "model_fp32.pt and model_int8.pt")
    think = "What is left of a link when DIR is copied to another machine?"
    regular = file in student.files.regular(folder)
    if not regular:
        fail(called, f"{file} is a link, or not a file at all", "the file itself", think)


def untrained(seed: int, **shape: int) -> GPT:
    """A GPT of a shape that is nobody's default, and weights that a checkpoint keeps as they are."""
    gpt = GPT(GPTConfig(**{"n_layer": 2, "n_head": 4, "n_embd": 128} | shape)).eval()
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for p in gpt.parameters():
            p.copy_((torch.randn(p.shape, generator=generator) * 0.05).half())
    return gpt


def unseen() -> GPT:
    """A GPT that nobody knows beforehand: its perplexity is large, and was never printed before.

    Not even the seed foretells it. Some tokens, which the held-out text has only after the first EARLY ones, surprise
    it beyond measure: whoever reads from the beginning and not far enough finds a perplexity that is too low. Its
    Linears are wide: in half precision it is clearly larger than in int8.
    """
    dice = random.SystemRandom()
    gpt, text = untrained(dice.getrandbits(62), n_layer=1, ffn_mult=32), held_out_tokens()[: TARGETS + 1]
    late = sorted(set(text[EARLY:].tolist()) - set(text[:EARLY].tolist()))
    with torch.no_grad():
        for norm in (gpt.ln_f.weight, gpt.ln_f.bias):  # of normalized numbers, whose sum is 0, all that remains is 1
            norm.fill_(1.0)
        gpt.head.weight -= gpt.head.weight.mean(dim=1, keepdim=True)
        gpt.head.weight *= dice.uniform(0.5, 2.5) / (gpt.head.weight.std() * gpt.config.n_embd**0.5)
        gpt.head.weight[late] -= SURPRISE / gpt.config.n_embd
        gpt.head.weight.copy_(gpt.head.weight.half())
    return gpt


def saved(gpt: GPT) -> bytes:
    """A checkpoint's file, made where only this side writes."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder, "gpt.safetensors")
        save_gpt(gpt, path)
        return path.read_bytes()


@torch.no_grad()
def perplexity_of(gpt: GPT) -> float:
    """On the first 20,000 tokens of the held-out text, by definition."""
    text, context = held_out_tokens()[: TARGETS + 1], gpt.config.block_size
    pairs = zip(text[:-1].split(context), text[1:].split(context), strict=True)
    nats = sum(F.cross_entropy(gpt(x[None])[0].double(), y, reduction="sum").item() for x, y in pairs)
    return math.exp(nats / TARGETS)


def int8_bytes(gpt: GPT) -> int:
    """Bytes of its numbers as ex05 keeps them: Linears at one byte a weight and a scale a row, the rest in float32."""
    linears = [m.weight for m in gpt.modules() if isinstance(m, torch.nn.Linear)]
    weights, rows = sum(w.numel() for w in linears), sum(len(w) for w in linears)
    everything = sum(p.numel() for p in gpt.parameters())
    return weights + 4 * rows + 4 * (everything - weights)


def _snapshot(files: Any) -> dict[str, Any]:
    """Every name in the scratch folder, and the contents of the files: of large ones the size."""
    regular = set(files.regular())
    sizes = {name: files.size(name) for name in regular}
    return {
        name: (files.read(name) if sizes[name] < 1 << 20 else sizes[name]) if name in regular else None
        for name in files.names()
    }


def _seen_from(out: str, names: set[str]) -> list[str]:
    """Names in the scratch folder, in a learner's words where they are DIR, in DIR or above it."""

    def words(name: str) -> str:
        if out.startswith(f"{name}/"):
            return "the folder of DIR"
        return f"DIR{name.removeprefix(out)}" if name == out or name.startswith(f"{out}/") else name

    return [words(name) for name in sorted(names)]


def _without_paths(text: str, files: Any) -> str:
    """text without the scratch folder's path, in which any word may occur."""
    return re.sub(rf"[^\s'\"`(:=]*{re.escape(Path(files.path()).name)}/?", "", text)
