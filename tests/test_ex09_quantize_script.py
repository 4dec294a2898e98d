"""ex09: the command as its user sees it, when all is well and when it is not."""

import re
import statistics

import pytest
import torch

from grader.suite.student import named
from grader.suite.verdict import Undecided
from llm.checkpoint import load_card, load_gpt
from llm.corpus import held_out_tokens
from tests import oracle, script_runs
from tests.laws import laws
from tests.messages import check_tensor, describe, fail, percent
from tests.models import INT8, check_module, tensors
from tests.script_runs import BYSTANDER, NOTHING_IS_LEFT, RUN, RUN_ON_P, TARGETS, check_all, check_there, figures_of

LOADED = "load_int8(DIR/model_int8.pt)"
OUT, SMALL_OUT, NARROW_OUT, UNSEEN_OUT = "a new folder/out", "another/out", "narrow", "a third"
ON_UNSEEN = f"{RUN_ON_P}; P is a GPT that the grader has just made"

pytestmark = pytest.mark.timeout(300)


@pytest.fixture(scope="module")
def ran(student):
    """One run with everything at its default, into a folder that is not there yet."""
    with student.threads(1):  # where int8 gains most, and a second process disturbs least
        return script_runs.run(student, ["--out", student.files.path(OUT)], RUN, shape=load_gpt().config)


@pytest.fixture(scope="module")
def figures(ran):
    """The six printed figures by name."""
    return figures_of(ran, RUN)


@pytest.fixture(scope="module")
def small(student, seed):
    """A GPT of another shape, untrained, and its checkpoint: quick to work on, and nobody's default."""
    gpt = script_runs.untrained(seed, n_embd=64)
    return gpt, student.files.write("small.safetensors", script_runs.saved(gpt))


@pytest.fixture(scope="module")
def ran_small(student, small):
    """One run on the small checkpoint, into a folder that somebody else uses as well."""
    student.files.write(f"{SMALL_OUT}/{BYSTANDER}", b"someone's")
    return script_runs.run(student, ["--checkpoint", small[1], "--out", student.files.path(SMALL_OUT)])


@pytest.fixture(scope="module")
def unseen(student):
    gpt = script_runs.unseen()
    student.files.write("unseen.safetensors", script_runs.saved(gpt))
    return gpt


@pytest.fixture(scope="module")
def ran_unseen(student, unseen):
    """One run on the GPT that nobody has seen, into a folder that is not there yet."""
    argv = ["--checkpoint", student.files.path("unseen.safetensors"), "--out", student.files.path(UNSEEN_OUT)]
    return script_runs.run(student, argv, ON_UNSEEN)


@pytest.fixture(scope="module")
def figures_of_unseen(ran_unseen):
    return figures_of(ran_unseen, ON_UNSEEN)


@pytest.fixture(scope="module")
def bad_inputs(student, small, ran_small):
    return script_runs.bad_inputs(student, small[1], SMALL_OUT)


@pytest.fixture(scope="module")
def failed_writes(student, seed):
    """Runs that cannot write all of their files, or print, after one that could: how large the files are is known."""
    narrow = script_runs.untrained(seed, n_layer=6, n_head=1, n_embd=2, ffn_mult=1)  # whose int8 file is the larger
    checkpoint = student.files.write("narrow.safetensors", script_runs.saved(narrow))
    called = f"{RUN_ON_P}; P has {narrow.config.n_layer} layers of width {narrow.config.n_embd}"
    ran = script_runs.run(student, ["--checkpoint", checkpoint, "--out", student.files.path(NARROW_OUT)], called)
    script_runs.check_it_can_succeed(ran, called)
    for name in ("fp32", "int8"):
        check_there(student, f"{NARROW_OUT}/model_{name}.pt", called)
    return script_runs.failed_writes(student, checkpoint, NARROW_OUT)


@pytest.mark.points(1)
def test_it_succeeds_and_prints_six_figures(ran, figures):
    """The command succeeds and prints six figures."""
    if ran.code != 0:
        fail(RUN, script_runs.ended(ran), "exit code 0")


def _sizes_are_those_of_the_files(student, figures):
    """The printed sizes are those of the two files, in KB of 1024 bytes."""
    for name in ("fp32", "int8"):
        check_there(student, f"{OUT}/model_{name}.pt", RUN)
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
    check_there(student, f"{OUT}/model_fp32.pt", RUN)
    some = load_gpt().head.weight[0].detach().numpy().tobytes()
    if some not in student.files.read(f"{OUT}/model_fp32.pt", 1 << 28):
        fail(RUN, "a model_fp32.pt without the weights of the checkpoint", "the GPT as it was loaded")


@pytest.mark.points(1)
@laws(_sizes_are_those_of_the_files, _the_ratio_is_that_of_the_sizes, _the_float_file_holds_the_checkpoint)
def test_it_writes_two_files_of_the_printed_size(student, figures, law):
    """The command writes two files of the printed size."""
    law(student, figures)


def _the_ratio_is_that_of_int8(ran, figures, measured, figures_of_unseen, unseen):
    """The ratio is that of a GPT whose Linears are int8."""
    least, most = oracle.SMALLER
    if not least <= figures["ratio"] <= most:
        fail(RUN, f"ratio: {figures['ratio']}x", f"{least} to {most}")


def _the_perplexity_is_that_of_held_out_text(ran, figures, measured, figures_of_unseen, unseen):
    """The perplexity is that of held-out text."""
    card, before = load_card()["perplexity"]["fp32"], figures["perplexity fp32"]
    least, most = oracle.ANY_TEXT
    if not least < before / card < most:
        fail(RUN, f"perplexity fp32: {before}", f"about {card:.1f} on held-out text")


def _int8_costs_little(ran, figures, measured, figures_of_unseen, unseen):
    """The perplexity of the int8 GPT is nearly that of the float32 GPT."""
    measured["drift in ex09"] = _drift(figures)
    for called, drift, allowed in (
        (RUN, _drift(figures), oracle.DRIFT),
        (ON_UNSEEN, _drift(figures_of_unseen), oracle.DRIFT_OF_UNSEEN),
    ):
        if not abs(drift) < allowed:
            fail(called, f"a drift of {drift:+.2%}", f"less than {percent(allowed)} either way")


def _each_perplexity_is_of_its_own_model(ran, figures, measured, figures_of_unseen, unseen):
    """The two perplexities are those of two models."""
    before, after = figures["perplexity fp32"], figures["perplexity int8"]
    exact = all(re.search(rf"^perplexity {name}:.*\.\d{{4}}", ran.stdout, re.MULTILINE) for name in ("fp32", "int8"))
    if exact and before == after:  # with two decimals an honest drift may round to none
        fail(RUN, f"perplexity {before} of both models", "two different perplexities, one of each model")


def _enough_text_is_read(ran, figures, measured, figures_of_unseen, unseen):
    """Both models read 20,000 tokens or more."""
    # who computes where nobody sees it, in another process for instance, is believed for figures that show how much
    # text was read; whoever was seen is not
    enough = ran.tokens >= TARGETS or (ran.seen < TARGETS and all(_honest(figures_of_unseen, unseen).values()))
    if not enough:
        think = f"How many tokens does a verdict of {percent(oracle.DRIFT)} need?"
        got = f"{ran.tokens:,} tokens that both models read"
        fail(RUN, got, f"at least {TARGETS:,}, all but the last of 20,000", think)


def _the_perplexities_are_those_of_the_checkpoint(ran, figures, measured, figures_of_unseen, unseen):
    """The perplexities are those of the checkpoint that was named, on so much text."""
    honest = _honest(figures_of_unseen, unseen)
    got = ", ".join(f"perplexity {name}: {figures_of_unseen[f'perplexity {name}']}" for name in honest)
    think = "Of which model are the figures, and when were they computed?"
    if not all(honest.values()):
        fail(ON_UNSEEN, got, f"about {script_runs.perplexity_of(unseen):.0f} on held-out text, of both", think)


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
def test_the_figures_are_those_of_the_gpt(ran, figures, measured, figures_of_unseen, unseen, law):
    """The figures are those of the GPT, in float32 and in int8, on 20,000 tokens."""
    law(ran, figures, measured, figures_of_unseen, unseen)


def _drift(figures):
    return figures["perplexity int8"] / figures["perplexity fp32"] - 1


def _honest(figures, gpt):
    """Of each perplexity, whether it can be that of this GPT on 20,000 held-out tokens: texts differ a little."""
    want, (least, most) = script_runs.perplexity_of(gpt), oracle.HONEST
    return {name: least < figures[f"perplexity {name}"] / want < most for name in ("fp32", "int8")}


@pytest.mark.points(1)
@pytest.mark.slow("main", "load_int8")
def test_the_speedup_is_the_one_we_measure(student, figures, measured):
    """The printed speedup is about the one that is measured here."""
    gpt, text = load_gpt(), held_out_tokens()
    int8 = _load(student, f"{OUT}/model_int8.pt", LOADED)
    ratios, control = [], []
    with student.threads(1):
        base, same = student.host(gpt), student.host(gpt)
        for k in range(12):
            ids = text[None, k * 128 : k * 128 + 128]
            timed = [student.timed(model, ids) for model in (base, int8, same)]
            _check_close(timed[1][1], timed[0][1], f"{LOADED}(ids)")  # what was timed is the GPT's work
            seconds = [taken for taken, _ in timed]
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


def _it_is_in_eval_mode(student, unseen):
    """A loaded model is in eval mode."""
    model = _load(student, f"{OUT}/model_int8.pt", LOADED)
    trains = [name or "the model itself" for name, training in model.modes().items() if training]
    if trains:
        think = "In which mode is a module that was just built?"
        fail(LOADED, f"`{trains[0]}` in train mode", "eval mode: it is ready to run", think)


def _its_logits_are_close(student, unseen):
    """Its logits are close to those of the float32 GPT."""
    model = _load(student, f"{OUT}/model_int8.pt", LOADED)
    with named(f"{LOADED}(ids)"):
        _check_logits(model(_ids()), load_gpt(), f"{LOADED}(ids)")


def _the_file_and_the_model_hold_int8(student, unseen):
    """The int8 file has about one byte for each weight of a Linear, and the loaded model holds int8 codes."""
    file, linears = f"{UNSEEN_OUT}/model_int8.pt", [m for m in unseen.modules() if isinstance(m, torch.nn.Linear)]
    check_there(student, file, ON_UNSEEN)
    size, want = student.files.size(file), script_runs.int8_bytes(unseen)
    think = "What takes one byte a weight: a value that was rounded, or the code that stands for it?"
    if not size < oracle.INT8_FILE * want:
        got = f"model_int8.pt of {size / 1024:,.0f} KB"
        fail(ON_UNSEEN, got, f"about {want / 1024:,.0f} KB: a byte a weight of a Linear, the rest in float32", think)
    model = _load(student, file, f"{LOADED}, of that P")
    registered = sum(t.numel() for t in tensors(model.state_dict()) if t.dtype in INT8)
    held = sum(nbytes for _, nbytes in {(t.storage, t.nbytes) for t in model.held_tensors() if t.dtype in INT8})
    codes, weights = max(registered, held), sum(m.weight.numel() for m in linears)
    if not codes >= weights:
        got = f"a model with {codes:,} int8 values"
        fail(f"{LOADED}, of that P", got, f"{weights:,}, one for each weight of a Linear", think)


def _a_new_process_loads_the_same(student, unseen):
    """A new process loads the same model from the file alone."""
    # the new process has this one file and nothing else; what it holds is in no other file of the project
    file, called = f"{UNSEEN_OUT}/model_int8.pt", f"{LOADED}(ids), of that P"
    check_there(student, file, ON_UNSEEN)
    fresh = _check_logits(student.fresh("load_int8", file, then=(_ids(),)), unseen, f"{called}, in a new process")
    with named(called):
        got = check_tensor(_load(student, file, called)(_ids()), called, fresh.shape, torch.float32)
    same = torch.allclose(fresh, got, rtol=oracle.SAME_LOGITS, atol=oracle.SAME_LOGITS)
    think = "Does the file hold all that is needed, or does something only live in the process that wrote it?"
    if not same:
        fail(f"{called}, in a new process", describe(fresh), f"{describe(got)}, the same logits", think)


@pytest.mark.points(2)
@laws(_it_is_in_eval_mode, _its_logits_are_close, _the_file_and_the_model_hold_int8, _a_new_process_loads_the_same)
def test_a_new_process_loads_the_same_model(student, ran, unseen, ran_unseen, law):
    """A new process loads the same int8 model, ready to run."""
    check_there(student, f"{OUT}/model_int8.pt", RUN)
    law(student, unseen)


def _a_folder_that_is_there_is_used(student, small, called):
    """A folder that is there already is used, and what was in it stays."""
    if BYSTANDER not in student.files.names(SMALL_OUT):
        fail(called, f"deleted: {BYSTANDER} in DIR", "what was there stays")


def _the_shape_comes_from_the_checkpoint(student, small, called):
    """A GPT of another shape is loaded as what it is."""
    file, called = f"{SMALL_OUT}/model_int8.pt", f"{LOADED}(ids), of a P of another shape"
    think = "Where do the shape and the weights come from: the file, or a default?"
    check_there(student, file, RUN_ON_P)
    with named(called):
        _check_logits(_load(student, file, called)(_ids()), small[0], called, think)


@pytest.mark.points(1)
@laws(_a_folder_that_is_there_is_used, _the_shape_comes_from_the_checkpoint)
def test_a_checkpoint_of_another_shape_will_do(student, small, ran_small, law):
    """A checkpoint of another shape and an existing folder are fine, too."""
    config = small[0].config
    called = f"{RUN_ON_P}; P has {config.n_layer} layers of width {config.n_embd}, DIR exists"
    script_runs.check_it_can_succeed(ran_small, called)
    law(student, small, called)


def _it_ends_with_2(runs):
    """It ends with exit code 2."""
    think = "Which exceptions can come up, and who catches them, says what was wrong, and returns 2?"
    check_all(runs, lambda run: run.code == 2, lambda run: run.ended, "exit code 2", think)


def _a_message_names_what_is_wrong(runs):
    """A line on stderr, in the command's own words, names what is wrong."""
    expected = "a line on stderr, in the command's own words, that names what is wrong: P, or DIR"
    think = "Would a user know from this line alone which argument to change?"
    check_all(runs, lambda run: run.has_message and run.is_named, lambda run: run.said, expected, think)


def _a_message_says_why(runs):
    """A line on stderr, in the command's own words, says why it failed."""
    expected = "a line on stderr, in the command's own words, that says why it failed"
    think = "What should a user read when the disk is full?"
    check_all(runs, lambda run: run.has_message, lambda run: run.said, expected, think)


def _all_else_is_as_before(runs):
    """No file or folder is new, deleted or changed."""
    think = "What lies on the disk already when something fails, and who takes it away again?"
    ended_well = [run for run in runs if run.code == 0]
    if ended_well:
        fail(ended_well[0].called, "exit code 0", "exit code 2: this cannot succeed", think)
    check_all(runs, lambda run: not run.left, lambda run: run.left, NOTHING_IS_LEFT, think)


@pytest.mark.points(1)
@pytest.mark.slow("main")
@laws(_it_ends_with_2, _a_message_names_what_is_wrong, _all_else_is_as_before)
def test_bad_input_is_a_clean_error(ran_small, bad_inputs, law):
    """Bad input is a clean error: exit code 2, a message, and nothing left behind."""
    script_runs.check_it_can_succeed(ran_small, RUN_ON_P)
    law(bad_inputs)


@pytest.mark.points(1)
@pytest.mark.slow("main")
@laws(_it_ends_with_2, _a_message_says_why, _all_else_is_as_before)
def test_a_full_disk_leaves_nothing_behind(failed_writes, law):
    """A full disk is a clean error, too, and leaves no partial files."""
    law(failed_writes)


def _load(student, file, called):
    """A handle on what load_int8 returns for a file of the scratch folder."""
    with named(called):
        return check_module(student.load_int8(student.files.path(file)), called)


def _ids():
    """(1, 80) tokens that loaded models are asked about."""
    return held_out_tokens()[None, 300:380]


def _check_logits(got, gpt, called, think=""):
    """got, once it is about what the float32 GPT says of the same tokens."""
    with torch.no_grad():
        return _check_close(got, gpt(_ids()), called, think)


def _check_close(got, want, called, think=""):
    check_tensor(got, called, want.shape, torch.float32)
    error = ((got - want).norm() / want.norm()).item()
    if not error < oracle.LOGITS:
        fail(called, f"logits off by {error:.1%} from the float32 GPT", f"at most {percent(oracle.LOGITS)}", think)
    return got
