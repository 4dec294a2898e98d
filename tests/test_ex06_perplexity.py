"""ex06: perplexity by its definition, a model left as it was found, and what int8 costs the GPT."""

import contextlib
import math
from dataclasses import dataclass
from functools import partial
from typing import Any

import pytest
import torch
from torch.nn import functional as F

from grader.suite.student import origin
from llm.checkpoint import load_gpt
from llm.corpus import held_out_tokens
from llm.model import GPTConfig
from tests import oracle
from tests.laws import laws
from tests.messages import check_number, check_tensor, check_unchanged, check_value_errors, fail, percent
from tests.models import changed_mode, changed_tensors, check_module, modes
from tests.specimens import Spy
from tests.values_alone import ORDER, check_function, layouts

DEFINITION = (
    "Are targets shifted by one? Do the last target of each window and the last, shorter window count? Do you divide "
    "only once?"
)
MODES = "Which line runs even after an error? Does every part have a mode of its own?"
SETTINGS = "Which line puts back the setting that was there before, even if something fails in between?"
CONTEXT, GPT_CONTEXT = 8, 256
WINDOWS, SOME = 80, 8  # of the held-out text: 20,480 targets, and as many as are enough to compare
BATCH = 4  # windows a call
VOCABULARY = GPTConfig().vocab_size
LENGTHS = [2, 3, CONTEXT, CONTEXT + 1, CONTEXT + 2, 2 * CONTEXT + 1, 5 * CONTEXT + 4, 60 * CONTEXT]


@pytest.fixture(scope="module", autouse=True)
def at_first(student):
    """PyTorch's settings before the first call of the learner's code."""
    return student.settings()


@pytest.fixture
def spy(rng):
    return Spy(12, rng).eval()


def perplexity_oracle(spy, tokens, context):
    """exp(total nats / targets) in float64, from the spy's own tables and without calling it."""
    table, memory, total = spy.table.detach().double(), spy.memory.detach().double(), 0.0
    for start in range(0, len(tokens) - 1, context):
        window = tokens[start : start + context + 1]
        inputs, targets = window[:-1], window[1:]
        past = memory[inputs].cumsum(0) / torch.arange(1, len(inputs) + 1).double().sqrt()[:, None]
        total += F.cross_entropy(table[inputs] + past, targets, reduction="sum").item()
    return math.exp(total / (len(tokens) - 1))


def spies(rng, raise_at=0):
    """Four models in random order, whose perplexities differ widely: the larger its logits, the worse the model."""
    for k in torch.randperm(4, generator=rng).tolist():
        spy = Spy(12, rng, raise_at)
        with torch.no_grad():
            for logits in (spy.table, spy.memory):
                logits *= 0.4 * 2.5**k
        yield spy


def check_order(results, called):
    """(got, want) of each model: the worse one has the larger perplexity; by how much is asked elsewhere."""
    got = [g for g, _ in sorted(results, key=lambda both: both[1])]
    rises = all(a < b for a, b in zip(got, got[1:], strict=False))
    if not rises:
        fail(
            f"{called}, for {len(got)} models, each worse than the one before",
            ", ".join(f"{g:.6g}" for g in got),
            "the worse the model, the larger its perplexity",
            DEFINITION,
        )


def random_text(n, rng):
    """(n,) tokens, each unlike the one before: otherwise an answer that predicts the input would often be right."""
    return torch.randint(1, 12, (n,), generator=rng).cumsum(0) % 12


def check_value(got, spy, tokens, called, think):
    """got is the perplexity of a spy."""
    got, want = check_number(got, called), perplexity_oracle(spy, tokens, CONTEXT)
    if not math.isclose(got, want, rel_tol=oracle.PERPLEXITY):
        targets = len(tokens) - 1
        fail(called, got, f"{want:.6g}: exp of the mean over {targets} target{'s' * (targets > 1)}", think)


@pytest.mark.points(1)
@pytest.mark.parametrize("n", LENGTHS, ids=lambda n: f"{n}-tokens")
def test_every_target_counts_once(student, spy, rng, n):
    """Every target counts once."""
    tokens = random_text(n, rng)
    called = f"perplexity(model, tokens, {CONTEXT}), {n} tokens"
    check_value(student.perplexity(spy, tokens, CONTEXT), spy, tokens, called, DEFINITION)


def _unlikely_target(student, rng):
    """A nearly impossible target costs about 300 nats, not infinitely many."""
    spy, tokens = Spy(12, rng).eval(), random_text(44, rng)
    with torch.no_grad():
        spy.table[tokens[20], tokens[21]] = -300.0
        spy.table += 100
    called = f"perplexity(model, tokens, {CONTEXT}), logits between -200 and 100"
    think = "exp(100) and exp(-200) are beyond float32. Must the probabilities themselves be computed?"
    check_value(student.perplexity(spy, tokens, CONTEXT), spy, tokens, called, think)


def _order_in_memory(student, rng):
    """How the tokens lie in memory does not matter."""
    spy, tokens = Spy(12, rng).eval(), random_text(44, rng)
    for words, same_tokens in layouts(tokens).items():
        called = f"perplexity(model, tokens, {CONTEXT}), tokens are {words}"
        check_value(student.perplexity(spy, same_tokens, CONTEXT), spy, tokens, called, ORDER)


def _other_values(student, rng):
    """A later call with other values has its own answer."""
    calls = [(Spy(12, rng).eval(), random_text(44, rng), CONTEXT) for _ in range(2)]

    def check(got, arguments, called, think):
        check_value(got, *arguments[:2], called, think)

    check_function(student, "perplexity", calls, check, f"perplexity(model, tokens, {CONTEXT})")


@pytest.mark.points(1)
@laws(_unlikely_target, _order_in_memory, _other_values)
def test_every_model_and_every_text_has_its_perplexity(student, rng, law):
    """Every model and every text has its perplexity."""
    law(student, rng)


@pytest.mark.points(1)
def test_windows_are_as_long_as_the_context_and_no_longer(student, spy, rng):
    """Windows are as long as the context and no longer."""
    tokens = torch.randint(12, (100,), generator=rng)
    for context in (1, 5, 99, 100, 1000):
        called = f"perplexity(model, tokens, {context}), 100 tokens"
        got = check_number(student.perplexity(spy, tokens, context), called)
        longest = int(student.view(spy).longest)
        if not longest <= context:
            fail(called, f"a window of {longest} tokens", f"at most {context}")
        want = perplexity_oracle(spy, tokens, context)
        think = f"{DEFINITION} Do windows overlap?"
        if not math.isclose(got, want, rel_tol=oracle.PERPLEXITY):
            fail(called, got, want, think)
        student.forget_copies()


def evaluated(student, rng, called):
    """Each model of spies, in train mode, and the student's copy of it after the call; in the end check_order."""
    tokens, results = torch.randint(12, (50,), generator=rng), []
    for spy in spies(rng):
        spy.memory.requires_grad_(False)  # as in fine-tuning
        got = student.perplexity(spy.train(), tokens, CONTEXT)
        yield spy, called_at_all(student, spy, called)
        results.append((check_number(got, called), perplexity_oracle(spy, tokens, CONTEXT)))
    check_order(results, called)


def called_at_all(student, spy, called):
    """The student's copy of the spy, once it was called at all."""
    mine = student.view(spy)
    if not mine.calls:
        fail(called, "no call of the model", "the model to be asked for logits")
    return mine


IN_TRAIN_MODE = f"perplexity(model, tokens, {CONTEXT}), a model in train mode"


@pytest.mark.points(1)
def test_the_model_is_evaluated_in_eval_mode(student, rng):
    """The model is evaluated in eval mode."""
    for _, seen in evaluated(student, rng, IN_TRAIN_MODE):
        if seen.in_train_mode:
            fail(IN_TRAIN_MODE, "calls in train mode", "eval mode", "What does dropout do meanwhile?")
    spy, called = Spy(12, rng).eval(), f"perplexity(model, tokens, {CONTEXT}), a model in eval mode but for `noise`"
    spy.noise.train()
    student.perplexity(spy, random_text(44, rng), CONTEXT)
    if called_at_all(student, spy, called).in_train_mode:
        fail(called, "calls with `noise` in train mode", "every part in eval mode", "Which parts has a model?")


@pytest.mark.points(1)
def test_no_gradients_are_recorded(student, rng):
    """No gradients are recorded."""
    for _, seen in evaluated(student, rng, IN_TRAIN_MODE):
        kept = seen.with_gradients or any(p.grad is not None for p in seen.parameters())
        if kept:
            fail(IN_TRAIN_MODE, "calls that record gradients", "calls that record none", "Who needs gradients here?")


@dataclass
class Run:
    """One model of spies after a call: the student's copy of it, the modes before, and what came of the call."""

    mine: Spy
    before: dict[str, bool]
    raised: bool
    got: Any
    want: float


def runs(student, rng, raise_at, called):
    """A Run for each model of spies, in train or in eval mode but for one part.

    raise_at: the call in which the models raise an error; 0: none
    """
    tokens, done = torch.randint(12, (50,), generator=rng), []
    for spy, trains in zip(spies(rng, raise_at), (True, False, True, False), strict=True):
        spy.train(trains)
        spy.frozen[0].train(not trains)  # one part in the other mode, deep down, as in fine-tuning
        got, raised = None, False
        try:
            got = student.perplexity(spy, tokens, CONTEXT)
        except Exception as error:  # the model's own, or one that is made of it
            if origin(error) is None or not student.view(spy).raised:
                raise
            raised = True
        mine = called_at_all(student, spy, called)
        done.append(Run(mine, modes(spy), raised, got, perplexity_oracle(spy, tokens, CONTEXT)))
    return done


def check_order_of_runs(done, called):
    # batched windows may need fewer calls than this spy waits for
    check_order([(check_number(run.got, called), run.want) for run in done if not run.mine.raised], called)


def call_that_raises(raise_at):
    return "perplexity(model, ...)" + f", call {raise_at} of the model raises an error" * bool(raise_at)


def _check_modes(student, rng, raise_at):
    called = call_that_raises(raise_at)
    done = runs(student, rng, raise_at, called)
    changes = dict.fromkeys(changed_mode(modes(run.mine), run.before) for run in done)
    if any(changes):
        fail(called, "; ".join(filter(None, changes)), "every part in the mode it was in", MODES)
    check_order_of_runs(done, called)


def _modes_after_a_call(student, rng):
    """Every part gets its mode back after a call."""
    _check_modes(student, rng, 0)


def _modes_after_an_error(student, rng):
    """Every part gets its mode back when the model raises."""
    for raise_at in (1, 3):
        _check_modes(student, rng, raise_at)


def _modes_after_too_few_tokens(student, rng):
    """Every part gets its mode back with too few tokens."""
    spy = Spy(12, rng).train()
    before, called = modes(spy), f"perplexity(model, tokens, {CONTEXT}), too few tokens"
    for n in (0, 1):
        with contextlib.suppress(ValueError):
            student.perplexity(spy, torch.zeros(n, dtype=torch.int64), CONTEXT)
    if change := changed_mode(modes(student.view(spy)), before):
        fail(called, change, "every part in the mode it was in", MODES)


@pytest.mark.points(1)
@laws(_modes_after_a_call, _modes_after_an_error, _modes_after_too_few_tokens)
def test_every_part_gets_its_mode_back(student, rng, law):
    """Every part gets its mode back."""
    law(student, rng)


def _tokens_stay(student, rng, at_first):
    """The tokens stay as they were."""
    spy = Spy(12, rng).eval()
    for n in LENGTHS:
        tokens = random_text(n, rng)
        student.perplexity(spy, tokens, CONTEXT)
        check_unchanged(tokens, student.view(tokens), f"perplexity(model, tokens, {CONTEXT}), {n} tokens")


def _the_model_stays(student, rng, at_first):
    """The model's tensors stay as they were, and so does which of them are trained."""
    for spy, seen in evaluated(student, rng, IN_TRAIN_MODE):
        for ours, theirs in zip(spy.buffers(), seen.buffers(), strict=True):
            ours.copy_(theirs)  # what a spy notes of its calls
        if change := changed_tensors(seen, spy):
            fail(IN_TRAIN_MODE, change, "the model as it was", "Whose model is it?")


def _settings_stay(student, rng, at_first):
    """PyTorch's settings stay as they were."""
    for raise_at in (0, 1, 3):
        called = call_that_raises(raise_at)
        done = runs(student, rng, raise_at, called)
        for name, value in student.settings().items():
            if value != at_first[name]:
                fail(called, f"{name} is now {value}", f"{at_first[name]}, as before", SETTINGS)
        check_order_of_runs(done, called)


def _the_models_error_comes_through(student, rng, at_first):
    """The model's own error comes through."""
    for raise_at in (1, 3):
        called = call_that_raises(raise_at)
        done = runs(student, rng, raise_at, called)
        if any(run.mine.raised and not run.raised for run in done):
            fail(called, "no error", "the model's own error to come through")
        check_order_of_runs(done, called)


@pytest.mark.points(1)
@laws(_tokens_stay, _the_model_stays, _settings_stay, _the_models_error_comes_through)
def test_nothing_else_is_changed_or_hidden(student, rng, at_first, law):
    """Nothing else is changed, and no error is hidden."""
    law(student, rng, at_first)


@pytest.mark.points(1)
def test_one_token_predicts_nothing(student, spy, rng):
    """One token predicts nothing: that is a ValueError."""
    spy.train()
    check_value_errors(
        {
            f"perplexity(model, tokens, {CONTEXT}), {n} tokens": partial(
                student.perplexity, spy, torch.zeros(n, dtype=torch.int64), CONTEXT
            )
            for n in (0, 1)
        },
        {
            f"perplexity(model, tokens, {CONTEXT}), {n} tokens": partial(
                student.perplexity, Spy(12, rng), random_text(n, rng), CONTEXT
            )
            for n in (2, 3)
        },
    )


@pytest.mark.points(1)
def test_drift_is_a_fraction_of_before(student, rng):
    """Drift is a fraction of the perplexity before."""
    relative, absolute = oracle.DRIFT_FORMULA
    drawn = [round(p, 2) for p in (torch.rand(2, generator=rng) * 30 + 20).tolist()]
    pairs = ((40.0, 41.0), (41.0, 40.0), (7.5, 7.5), (40, 50), (torch.tensor(40.0), torch.tensor(80.0)))
    for before, after in (*pairs, drawn, drawn[::-1]):
        called = f"drift(before={float(before)}, after={float(after)})"
        got, want = check_number(student.drift(before, after), called), float(after) / float(before) - 1
        think = "1 percent is 0.01. Which of the two is the reference?"
        if not math.isclose(got, want, rel_tol=relative, abs_tol=absolute):
            fail(called, got, want, think)


@pytest.mark.points(1)
@pytest.mark.slow("perplexity")
@pytest.mark.timeout(300)
def test_int8_costs_the_gpt_less_than_a_percent(student, rng, measured, progress):
    """Going to int8 costs the GPT less than a percent."""
    # N3. The suite computes both perplexities from the logits; the student's have to be the same
    text, length = held_out_tokens(), WINDOWS * GPT_CONTEXT + 1
    start = int(torch.randint(len(text) - length, (), generator=rng))
    gpt, tokens = load_gpt(), text[start : start + length]
    few = tokens[: SOME * GPT_CONTEXT + 1]
    progress("1 of 4: float32, a little text")
    _check_perplexity(student, gpt, few, _nats(gpt, few, "gpt"), "gpt")  # a wrong answer fails here, in a short time
    progress("2 of 4: float32")
    before = _check_perplexity(student, gpt, tokens, _nats(gpt, tokens, "gpt"), "gpt")
    int8, what = student.exercise("ex05_linear_swap").swap_linears(gpt), "swap_linears(gpt)"
    progress("3 of 4: int8")
    nats = _nats(check_module(int8, what), tokens, what)
    progress("4 of 4: int8, a little text")
    _check_perplexity(student, int8, few, nats[:SOME], what)
    after = math.exp(nats.mean())
    change = after / before - 1
    measured |= {"perplexity fp32": before, "perplexity int8": after, "drift": change}
    called = f"swap_linears(gpt), on {WINDOWS} windows of held-out text"
    if not abs(change) < oracle.DRIFT:
        fail(called, f"a drift of {change:+.2%}", f"less than {percent(oracle.DRIFT)} up or down")


def _nats(model, tokens, what):
    """(windows,) float64: a GPT's mean nats for the targets of each window of tokens."""
    nats = []
    for x, y in zip(tokens[:-1].split(BATCH * GPT_CONTEXT), tokens[1:].split(BATCH * GPT_CONTEXT), strict=True):
        ids = x.view(-1, GPT_CONTEXT)
        with torch.no_grad():
            logits = check_tensor(model(ids), f"{what}(ids)", (*ids.shape, VOCABULARY), torch.float32)
        losses = F.cross_entropy(logits.double().flatten(0, 1), y, reduction="none")
        nats.append(losses.view(ids.shape).mean(1))
    return torch.cat(nats)


def _check_perplexity(student, model, tokens, nats, what):
    """The perplexity of windows with these nats, once the student's for the same tokens is the same."""
    called = f"perplexity({what}, {len(tokens):,} tokens of held-out text, {GPT_CONTEXT})"
    got, want = check_number(student.perplexity(model, tokens, GPT_CONTEXT), called), math.exp(nats.mean())
    think = "Does the same function pass the tests above?"
    if not math.isclose(got, want, rel_tol=oracle.PERPLEXITY_OF_GPT):
        fail(called, got, want, think)
    return want
