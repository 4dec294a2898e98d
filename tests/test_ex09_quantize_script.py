"""ex09: the command as its user sees it, when all is well and when it is not."""

import math
import random
import re
import statistics
import tempfile
from dataclasses import dataclass
from pathlib import Path

import pytest
import torch
from torch.nn import functional as F

from grader.suite.verdict import Undecided
from llm.checkpoint import PATH, load_card, load_gpt, save_gpt
from llm.corpus import held_out_tokens
from llm.model import GPT, GPTConfig
from tests import oracle
from tests.laws import laws
from tests.messages import check_tensor, describe, fail, percent
from tests.models import check_module

COMMAND = "python -m exercises.ex09_quantize_script"
RUN, RUN_ON_P = f"{COMMAND} --out DIR", f"{COMMAND} --checkpoint P --out DIR"
LOADED = "load_int8(DIR/model_int8.pt)"
NUMBER = r"(\d[\d,]*(?:\.\d+)?)"
FIGURES = {
    "fp32": rf"^\s*fp32:\s*{NUMBER}\s*KB\b",
    "int8": rf"^\s*int8:\s*{NUMBER}\s*KB\b",
    "ratio": rf"^\s*ratio:\s*{NUMBER}\s*x\b",
    "perplexity fp32": rf"^\s*perplexity fp32:\s*{NUMBER}(?!\S)",
    "perplexity int8": rf"^\s*perplexity int8:\s*{NUMBER}(?!\S)",
    "speedup": rf"^\s*speedup:\s*{NUMBER}\s*x\b",
}
OUT, SMALL_OUT, UNKNOWN_OUT = "a new folder/out", "another/out", "a third"
BYSTANDER = "notes.txt"
TARGETS = 19_999  # that 20,000 tokens have
EARLY = 16_000  # tokens after which the unknown GPT meets some for the first time
SURPRISE = 100  # nats that each of these costs it
FULL = "no space left on device"

pytestmark = pytest.mark.timeout(300)


@pytest.fixture(scope="module")
def ran(student):
    """One run with everything at its default, into a folder that is not there yet."""
    with student.threads(1):  # where int8 gains most, and a second process disturbs least
        return student.run(["--out", student.files.path(OUT)], shape=load_gpt().config)


@pytest.fixture(scope="module")
def small(student, seed):
    """A GPT of another shape, untrained, and its checkpoint: quick to work on, and nobody's default."""
    gpt = _untrained(seed)
    return gpt, student.files.write("small.safetensors", _saved(gpt))


@pytest.fixture(scope="module")
def ran_small(student, small):
    """One run on the small checkpoint, into a folder that somebody else uses as well."""
    student.files.write(f"{SMALL_OUT}/{BYSTANDER}", b"someone's")
    return student.run(["--checkpoint", small[1], "--out", student.files.path(SMALL_OUT)])


@pytest.fixture(scope="module")
def unknown(student):
    """A GPT that nobody knows beforehand: its perplexity is large, and was never printed before.

    Not even the seed foretells it. Some tokens, which the held-out text has only after the first EARLY ones, surprise
    it beyond measure: whoever reads from the beginning and not far enough finds a perplexity that is too low.
    """
    dice = random.SystemRandom()
    gpt, text = _untrained(dice.getrandbits(62)), held_out_tokens()[: TARGETS + 1]
    late = sorted(set(text[EARLY:].tolist()) - set(text[:EARLY].tolist()))
    with torch.no_grad():
        for norm in (gpt.ln_f.weight, gpt.ln_f.bias):  # of normalized numbers, whose sum is 0, all that remains is 1
            norm.fill_(1.0)
        gpt.head.weight -= gpt.head.weight.mean(dim=1, keepdim=True)
        gpt.head.weight *= dice.uniform(0.5, 2.5) / (gpt.head.weight.std() * gpt.config.n_embd**0.5)
        gpt.head.weight[late] -= SURPRISE / gpt.config.n_embd
        gpt.head.weight.copy_(gpt.head.weight.half())
    student.files.write("unknown.safetensors", _saved(gpt))
    return gpt


@pytest.fixture(scope="module")
def ran_unknown(student, unknown):
    """One run on the GPT that nobody knows, into a folder that is not there yet."""
    return student.run(
        ["--checkpoint", student.files.path("unknown.safetensors"), "--out", student.files.path(UNKNOWN_OUT)]
    )


@pytest.fixture(scope="module")
def figures(ran):
    """The six printed figures by name."""
    return _figures(ran, RUN)


@pytest.fixture(scope="module")
def figures_of_unknown(ran_unknown):
    return _figures(ran_unknown, f"{RUN_ON_P}, a P that was never there before")


@dataclass(frozen=True)
class Failed:
    """A run that cannot succeed: what is wrong, how it ended, and what it changed in the folder."""

    what: str
    code: int
    stderr: str
    new: list[str]
    deleted: list[str]

    @property
    def called(self) -> str:
        return f"{COMMAND}, {self.what}"


@pytest.fixture(scope="module")
def failed(student, small, ran_small):
    """The runs that cannot succeed, and whether earlier results stayed as they were."""
    files, quick = student.files, ["--checkpoint", small[1]]
    good = PATH.read_bytes()
    cut = files.write("cut.safetensors", good[: len(good) // 2])
    tiny = GPT(GPTConfig(vocab_size=64, n_layer=1, n_head=2, n_embd=32))
    other = files.write("other.safetensors", _saved(tiny))
    taken = files.write("taken", b"a file")
    files.write("blocked/model_int8.pt/keep", b"someone's")
    earlier, runs = _contents(files, SMALL_OUT), []
    for what, argv in {
        "a checkpoint that is not there": ["--checkpoint", files.path("none.safetensors"), "--out", files.path("new")],
        "half a checkpoint": ["--checkpoint", cut, "--out", files.path("new/deeper")],
        "half a checkpoint, over earlier results": ["--checkpoint", cut, "--out", files.path(SMALL_OUT)],
        "half a checkpoint, and no --out": ["--checkpoint", cut],
        "a GPT with another vocabulary": ["--checkpoint", other, "--out", files.path("new/deeper")],
        "a file in the place of DIR": [*quick, "--out", taken],
        "a file in DIR's path": [*quick, "--out", f"{taken}/below"],
        "a folder called model_int8.pt": [*quick, "--out", files.path("blocked")],
        "an OSError while the models are measured": [*quick, "--out", files.path("new/deeper")],
    }.items():
        before = set(files.names())
        result = student.run(argv, breaks=FULL if "OSError" in what else "")
        if "OSError" in what and not result.code and not result.seen:
            continue  # it measures in a process where the error did not come about
        after = set(files.names())
        runs.append(Failed(what, result.code, result.stderr, sorted(after - before), sorted(before - after)))
    return runs, _contents(files, SMALL_OUT) == earlier


@pytest.mark.points(1)
def test_it_succeeds_and_prints_six_figures(ran, figures):
    """The command succeeds and prints six figures."""
    if ran.code != 0:
        fail(RUN, _ended(ran), "0")


def _sizes_are_those_of_the_files(student, figures):
    """The printed sizes are those of the two files, in KB of 1024 bytes."""
    for name in ("fp32", "int8"):
        _check_there(student, f"{OUT}/model_{name}.pt", RUN)
        size = student.files.size(f"{OUT}/model_{name}.pt") / 1024
        # whole KB will do, and what torch.save would write; another unit will not
        if not abs(figures[name] / size - 1) < oracle.PRINTED_SIZE:
            fail(RUN, f"{name}: {figures[name]} KB", f"{size:.1f} KB, the size of the file in KB of 1024 bytes")


def _the_ratio_is_that_of_the_sizes(student, figures):
    """The printed ratio is that of the printed sizes."""
    ratio = figures["fp32"] / figures["int8"]
    if not abs(figures["ratio"] / ratio - 1) < oracle.PRINTED_RATIO:
        fail(RUN, f"ratio: {figures['ratio']}x", f"{ratio:.6g}", "Which of the two is divided by which?")


def _the_float_file_holds_the_checkpoint(student, figures):
    """The float32 file holds the weights of the checkpoint."""
    _check_there(student, f"{OUT}/model_fp32.pt", RUN)
    some = load_gpt().head.weight[0].detach().numpy().tobytes()
    if some not in student.files.read(f"{OUT}/model_fp32.pt", 1 << 28):
        fail(RUN, "a model_fp32.pt without the weights of the checkpoint", "the GPT as it was loaded")


@pytest.mark.points(1)
@laws(_sizes_are_those_of_the_files, _the_ratio_is_that_of_the_sizes, _the_float_file_holds_the_checkpoint)
def test_it_writes_two_files_of_the_printed_size(student, figures, law):
    """The command writes two files of the printed size."""
    law(student, figures)


def _the_ratio_is_that_of_int8(ran, figures, measured, figures_of_unknown, unknown):
    """The ratio is that of a GPT whose Linears are int8."""
    least, most = oracle.SMALLER
    if not least <= figures["ratio"] <= most:
        fail(RUN, f"ratio: {figures['ratio']}x", f"{least} to {most}")


def _the_perplexity_is_that_of_held_out_text(ran, figures, measured, figures_of_unknown, unknown):
    """The perplexity is that of held-out text."""
    card, before = load_card()["perplexity"]["fp32"], figures["perplexity fp32"]
    least, most = oracle.ANY_TEXT
    if not least < before / card < most:
        fail(RUN, f"perplexity fp32: {before}", f"about {card:.1f} on held-out text")


def _int8_costs_little(ran, figures, measured, figures_of_unknown, unknown):
    """The perplexity of the int8 GPT is nearly that of the float32 GPT."""
    drift = figures["perplexity int8"] / figures["perplexity fp32"] - 1
    measured["drift in ex09"] = drift
    if not abs(drift) < oracle.DRIFT:
        fail(RUN, f"a drift of {drift:+.2%}", f"less than {percent(oracle.DRIFT)} either way")


def _each_perplexity_is_of_its_own_model(ran, figures, measured, figures_of_unknown, unknown):
    """The two perplexities are those of two models."""
    before, after = figures["perplexity fp32"], figures["perplexity int8"]
    exact = all(re.search(rf"^perplexity {name}:.*\.\d{{4}}", ran.stdout, re.MULTILINE) for name in ("fp32", "int8"))
    if exact and before == after:  # with two decimals an honest drift may round to none
        fail(RUN, f"perplexity {before} of both models", "that of two different models")


def _enough_text_is_read(ran, figures, measured, figures_of_unknown, unknown):
    """Both models read 20,000 tokens or more."""
    # who computes where nobody sees it, in another process for instance, is believed for figures that show how much
    # text was read; whoever was seen is not
    enough = ran.tokens >= TARGETS or (ran.seen < TARGETS and all(_honest(figures_of_unknown, unknown).values()))
    if not enough:
        think = f"How many tokens does a verdict of {percent(oracle.DRIFT)} need?"
        fail(
            RUN,
            f"{ran.tokens:,} tokens that both models read",
            f"at least {TARGETS:,}, all but the last of 20,000",
            think,
        )


def _the_perplexities_are_those_of_the_checkpoint(ran, figures, measured, figures_of_unknown, unknown):
    """The perplexities are those of the checkpoint that was named, on so much text."""
    honest = _honest(figures_of_unknown, unknown)
    got = ", ".join(f"perplexity {name}: {figures_of_unknown[f'perplexity {name}']}" for name in honest)
    think = "Of which model are the figures, and when were they computed?"
    if not all(honest.values()):
        called = f"{RUN_ON_P}, a P that was never there before"
        fail(called, got, f"about {_perplexity(unknown):.0f} on held-out text, of both", think)


# one function: who knows the shipped GPT's figures by heart prints them without having measured anything
@pytest.mark.points(2)
@laws(
    _the_ratio_is_that_of_int8,
    _the_perplexity_is_that_of_held_out_text,
    _int8_costs_little,
    _each_perplexity_is_of_its_own_model,
    _enough_text_is_read,
    _the_perplexities_are_those_of_the_checkpoint,
)
def test_the_figures_are_those_of_the_gpt(ran, figures, measured, figures_of_unknown, unknown, law):
    """The figures are those of the GPT, in float32 and in int8, on 20,000 tokens."""
    law(ran, figures, measured, figures_of_unknown, unknown)


def _honest(figures, gpt):
    """Of each perplexity, whether it can be that of this GPT on 20,000 held-out tokens: texts differ a little."""
    want, (least, most) = _perplexity(gpt), oracle.HONEST
    return {name: least < figures[f"perplexity {name}"] / want < most for name in ("fp32", "int8")}


@pytest.mark.points(1)
def test_the_speedup_is_the_one_we_measure(student, figures, measured):
    """The printed speedup is about the one that is measured here."""
    gpt, text = load_gpt(), held_out_tokens()
    int8 = check_module(student.load_int8(student.files.path(f"{OUT}/model_int8.pt")), LOADED)
    ratios, control = [], []
    with student.threads(1):
        base, same = student.host(gpt), student.host(gpt)
        for k in range(12):
            ids = text[None, k * 128 : k * 128 + 128]
            seconds = [student.timed(model, ids)[0] for model in (base, int8, same)]
            ratios.append(seconds[0] / seconds[1])
            control.append(seconds[0] / seconds[2])
    ours = statistics.median(ratios[1:])
    _, low, _, high, _ = statistics.quantiles(control[1:], n=6)  # of our own model alone: a learner's may dawdle
    measured["speedup in ex09"] = figures["speedup"]
    least, most = oracle.SAME_SPEEDUP
    close = least < figures["speedup"] / ours < most
    if not close and high > oracle.BUSY * low:
        raise Undecided(
            f"the machine is too busy: one float model takes {low:.2f} to {high:.2f} times as long as itself"
        )
    if not close:
        think = "Is it float32 time over int8 time, and is the first call left out?"
        fail(RUN, f"speedup: {figures['speedup']}x", f"about {ours:.2f}x, as measured here", think)


def _it_is_in_eval_mode(student, unknown):
    """A loaded model is in eval mode."""
    model = check_module(student.load_int8(student.files.path(f"{OUT}/model_int8.pt")), LOADED)
    trains = [name or "the model itself" for name, training in model.modes().items() if training]
    if trains:
        think = "In which mode is a module that was just built?"
        fail(f"{LOADED}(ids)", f"`{trains[0]}` in train mode", "eval mode: it is ready to run", think)


def _its_logits_are_close(student, unknown):
    """Its logits are close to those of the float32 GPT."""
    model = check_module(student.load_int8(student.files.path(f"{OUT}/model_int8.pt")), LOADED)
    _check_logits(model(_ids()), load_gpt(), f"{LOADED}(ids)")


def _a_new_process_loads_the_same(student, unknown):
    """A new process loads the same model from the file alone."""
    # the new process has this one file and nothing else; what it holds is in no other file of the project
    file, called = f"{UNKNOWN_OUT}/model_int8.pt", f"{LOADED}(ids), of a checkpoint P"
    _check_there(student, file, RUN_ON_P)
    fresh = _check_logits(student.fresh("load_int8", file, then=(_ids(),)), unknown, f"{called}, in a new process")
    here = check_module(student.load_int8(student.files.path(file)), called)
    got = check_tensor(here(_ids()), called, fresh.shape, torch.float32)
    same = torch.allclose(fresh, got, rtol=oracle.SAME_LOGITS, atol=oracle.SAME_LOGITS)
    think = "Does the file hold all that is needed, or does something only live in the process that wrote it?"
    if not same:
        fail(f"{called}, in a new process", describe(fresh), f"{describe(got)}, the same logits", think)


@pytest.mark.points(2)
@laws(_it_is_in_eval_mode, _its_logits_are_close, _a_new_process_loads_the_same)
def test_a_new_process_loads_the_same_model(student, ran, unknown, ran_unknown, law):
    """A new process loads the same model, ready to run."""
    _check_there(student, f"{OUT}/model_int8.pt", RUN)
    law(student, unknown)


def _a_folder_that_is_there_is_used(student, small, ran_small, called):
    """A folder that is there already is used, and what was in it stays."""
    if BYSTANDER not in student.files.names(SMALL_OUT):
        fail(called, f"deleted: {BYSTANDER} in DIR", "what was there stays")


def _the_shape_comes_from_the_checkpoint(student, small, ran_small, called):
    """A GPT of another shape is loaded as what it is."""
    called = f"{LOADED}(ids), the same"
    think = "Where do the shape and the weights come from: the file, or a default?"
    model = check_module(student.load_int8(student.files.path(f"{SMALL_OUT}/model_int8.pt")), called)
    _check_logits(model(_ids()), small[0], called, think)


@pytest.mark.points(1)
@laws(_a_folder_that_is_there_is_used, _the_shape_comes_from_the_checkpoint)
def test_a_checkpoint_of_another_shape_will_do(student, small, ran_small, law):
    """A checkpoint of another shape and an existing folder are fine, too."""
    config = small[0].config
    called = f"{RUN_ON_P}, {config.n_layer} layers of width {config.n_embd}, a DIR that is there"
    if ran_small.code != 0:
        fail(called, _ended(ran_small), "0")
    law(student, small, ran_small, called)


def check_it_can_succeed(ran_unknown):
    if ran_unknown.code != 0:
        think = "Does the command succeed where nothing is wrong?"
        fail(f"{RUN_ON_P}, a P that can be read", _ended(ran_unknown), "0", think)


def _it_ends_with_2(runs):
    """It ends with exit code 2."""
    for run in runs:
        if run.code != 2:
            fail(run.called, f"exit code {run.code}", "2", "Who catches the error, says what it was, and returns 2?")


def _it_says_what_is_wrong(runs):
    """A line on stderr says what is wrong, in the command's own words."""
    for run in runs:
        said = (run.stderr.strip().splitlines() or ["silence"])[-1][:200]
        got = f"a traceback that ends with {said}" if "Traceback" in run.stderr else said
        if not run.stderr.strip() or "Traceback" in run.stderr:
            fail(run.called, got, "a line on stderr, in the command's own words, that names what is wrong")


@pytest.mark.points(1)
@laws(_it_ends_with_2, _it_says_what_is_wrong)
def test_a_failure_says_so(failed, ran_unknown, law):
    """A failure says so."""
    check_it_can_succeed(ran_unknown)
    law(failed[0])


def _nothing_new_is_left(runs, same):
    """No file or folder is left that was not there before."""
    for run in runs:
        if run.new:
            think = "What can still fail when the first file lies in its place?"
            fail(run.called, f"left behind: {', '.join(run.new[:5])}", "nothing new", think)


def _nothing_is_deleted(runs, same):
    """Nothing that was there before is deleted."""
    for run in runs:
        if run.deleted:
            fail(run.called, f"deleted: {', '.join(run.deleted[:5])}", "what was there stays")


def _earlier_results_stay(runs, same):
    """Earlier results in the same folder stay as they were."""
    if not same:
        fail(COMMAND, "earlier results changed by a run that failed", "earlier results as they were")


@pytest.mark.points(1)
@laws(_nothing_new_is_left, _nothing_is_deleted, _earlier_results_stay)
def test_a_failure_leaves_nothing_behind(failed, ran_unknown, law):
    """A failure leaves nothing behind, and all else as it was."""
    check_it_can_succeed(ran_unknown)
    for run in failed[0]:
        if run.code == 0:
            fail(run.called, "exit code 0", "a failure: this cannot succeed")
    law(*failed)


def _untrained(seed: int) -> GPT:
    """Two layers of width 128, and weights that a checkpoint keeps as they are."""
    gpt = GPT(GPTConfig(n_layer=2, n_head=4, n_embd=128)).eval()
    random = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for p in gpt.parameters():
            p.copy_((torch.randn(p.shape, generator=random) * 0.05).half())
    return gpt


def _saved(gpt: GPT) -> bytes:
    """A checkpoint's file, made where only this side writes."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder, "gpt.safetensors")
        save_gpt(gpt, path)
        return path.read_bytes()


@torch.no_grad()
def _perplexity(gpt: GPT) -> float:
    """On the first 20,000 tokens of the held-out text, by definition."""
    text, context = held_out_tokens()[: TARGETS + 1], gpt.config.block_size
    pairs = zip(text[:-1].split(context), text[1:].split(context), strict=True)
    nats = sum(F.cross_entropy(gpt(x[None])[0].double(), y, reduction="sum").item() for x, y in pairs)
    return math.exp(nats / TARGETS)


def _ended(ran) -> str:
    return f"exit code {ran.code}; {ran.stderr[-300:]}"


def _figures(ran, called: str) -> dict[str, float]:
    """What a run printed, by name."""
    found = {name: re.search(pattern, ran.stdout, re.MULTILINE) for name, pattern in FIGURES.items()}
    missing = [name for name in found if not found[name]]
    if missing and ran.code != 0:
        fail(called, _ended(ran), "0, and six lines")
    if missing:
        fail(
            called,
            f"no line `{missing[0]}: ...` in\n{ran.stdout[:800]}{ran.stderr[:400]}",
            "six lines: fp32: ... KB, int8: ... KB, ratio: ...x, perplexity fp32: ..., perplexity int8: ..., "
            "speedup: ...x",
        )
    figures = {name: float(match[1].replace(",", "")) for name, match in found.items()}
    for name, figure in figures.items():
        if figure == 0:
            fail(called, f"{name}: 0", "a number above 0")
    return figures


def _check_there(student, name: str, called: str) -> None:
    """Whether the command left this file, and no link in its place: whoever copies DIR wants what is in it."""
    folder, _, file = name.rpartition("/")
    names = student.files.names(folder)
    if file not in names:
        fail(called, f"{', '.join(names[:8]) or 'nothing'} in DIR", "model_fp32.pt and model_int8.pt")
    think = "What is left of a link when DIR is copied to another machine?"
    regular = file in student.files.regular(folder)
    if not regular:
        fail(called, f"{file} is a link, or no file at all", "the file itself", think)


def _ids() -> torch.Tensor:
    """(1, 80) tokens that loaded models are asked about."""
    return held_out_tokens()[None, 300:380]


def _check_logits(got, gpt: GPT, called: str, think: str = "") -> torch.Tensor:
    """got, once it is about what the float32 GPT says of the same tokens."""
    with torch.no_grad():
        want = gpt(_ids())
    check_tensor(got, called, want.shape, torch.float32)
    error = ((got - want).norm() / want.norm()).item()
    if not error < oracle.LOGITS:
        fail(called, f"logits off by {error:.1%} from the float32 GPT", f"at most {percent(oracle.LOGITS)}", think)
    return got


def _contents(files, folder: str) -> dict[str, bytes]:
    return {name: files.read(f"{folder}/{name}", 1 << 28) for name in files.regular(folder)}
