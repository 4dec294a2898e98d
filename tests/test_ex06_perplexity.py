"""ex06: perplexity by its definition, a model left as it was found, and what int8 costs the GPT."""

import math
from functools import partial

import pytest
import torch
from torch.nn import functional as F

from grader.suite.student import origin
from llm.checkpoint import load_gpt
from llm.corpus import held_out_tokens
from llm.model import GPTConfig
from tests.messages import check_number, check_tensor, check_unchanged, check_value_errors, fail
from tests.models import check_module
from tests.specimens import Spy

DEFINITION = (
    "Are targets shifted by one, do a window's last target and the ragged end count, and do you divide only once?"
)
CONTEXT, GPT_CONTEXT = 8, 256
WINDOWS, SOME = 80, 8  # of the held-out text: 20,480 targets, and as many as are enough to compare
BATCH = 4  # windows a call
VOCABULARY = GPTConfig().vocab_size
LENGTHS = [2, 3, CONTEXT, CONTEXT + 1, CONTEXT + 2, 2 * CONTEXT + 1, 5 * CONTEXT + 4, 60 * CONTEXT]


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
    """Four models in a drawn order, the first of them certain of nothing, the last of much that is not so."""
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
    """(n,) tokens, none like the one before: a model that predicts itself would be right about the second of those."""
    return torch.randint(1, 12, (n,), generator=rng).cumsum(0) % 12


@pytest.mark.points(3)
@pytest.mark.parametrize("n", LENGTHS, ids=lambda n: f"{n}-tokens")
def test_every_target_counts_once(student, spy, rng, n):
    tokens = random_text(n, rng)
    called = f"perplexity(model, tokens, {CONTEXT}), {n} tokens"
    got = check_number(student.perplexity(spy, tokens, CONTEXT), called)
    check_unchanged(tokens, student.view(tokens), called)
    want = perplexity_oracle(spy, tokens, CONTEXT)
    if not math.isclose(got, want, rel_tol=1e-4):
        fail(
            called,
            got,
            f"{want:.6g}: exp of the mean over {n - 1} target{'s' * (n > 2)}",
            DEFINITION,
        )


@pytest.mark.points(1)
def test_windows_are_as_long_as_the_context_and_no_longer(student, spy, rng):
    tokens = torch.randint(12, (100,), generator=rng)
    for context in (1, 5, 99, 100, 1000):
        called = f"perplexity(model, tokens, {context}), 100 tokens"
        got = check_number(student.perplexity(spy, tokens, context), called)
        longest = int(student.view(spy).longest)
        if not longest <= context:
            fail(called, f"a window of {longest} tokens", f"at most {context}")
        want = perplexity_oracle(spy, tokens, context)
        think = f"{DEFINITION} Do windows overlap?"
        if not math.isclose(got, want, rel_tol=1e-4):
            fail(called, got, want, think)
        student.forget_copies()


@pytest.mark.points(1)
def test_it_is_evaluated_in_eval_mode_without_gradients(student, rng):
    tokens = torch.randint(12, (50,), generator=rng)
    called = f"perplexity(model, tokens, {CONTEXT}), a model in train mode"
    results = []
    for spy in spies(rng):
        got = student.perplexity(spy.train(), tokens, CONTEXT)
        seen = _called(student, spy, called)
        if seen.in_train_mode:
            fail(called, "calls in train mode", "eval mode", "What does dropout do meanwhile?")
        kept = seen.with_gradients or any(p.grad is not None for p in seen.parameters())
        if kept:
            fail(called, "calls that record gradients", "none recorded", "Who needs gradients here?")
        trainable = all(p.requires_grad for p in seen.parameters())
        if not trainable:
            fail(called, "parameters that can no longer be trained", "the model as it was")
        results.append((check_number(got, called), perplexity_oracle(spy, tokens, CONTEXT)))
    check_order(results, called)


@pytest.mark.points(2)
@pytest.mark.parametrize("raise_at", [0, 1, 3], ids=["all-well", "first-call-raises", "third-call-raises"])
def test_every_part_gets_its_mode_back(student, rng, raise_at):
    tokens, mode = torch.randint(12, (50,), generator=rng), {True: "train", False: "eval"}
    called = f"perplexity(model, ...), in which call {raise_at} raises" if raise_at else "perplexity(model, ...)"
    left, results = [], []
    for spy, trains in zip(spies(rng, raise_at), (True, False, True, False), strict=True):
        spy.train(trains)
        spy.frozen[0].train(not trains)  # one part in the other mode, deep down, as in fine-tuning
        before = {name: module.training for name, module in spy.named_modules()}
        try:
            got = student.perplexity(spy, tokens, CONTEXT)
        except Exception as error:  # the model's own, or one that is made of it
            if origin(error) is None or not student.view(spy).raised:
                raise
        else:
            # batched windows may need fewer calls than this spy waits for; they have nothing to restore late
            raised = _called(student, spy, called).raised
            if raised:
                fail(called, "no error", "the model's own error to come through")
            results.append((check_number(got, called), perplexity_oracle(spy, tokens, CONTEXT)))
        after = {name: module.training for name, module in _called(student, spy, called).named_modules()}
        changed = [name for name in before if before[name] != after[name]]
        if changed:
            parts = f"{len(changed)} of {len(before)} parts, `{changed[-1]}` for one,"
            what = f"of a model in {mode[trains]} mode but for `frozen.0`"
            said = f"{parts} {what}, left in {mode[after[changed[-1]]]} mode"
            left += [said] * (said not in left)
    think = "What runs even after an error, and is one flag enough for all parts?"
    if left:
        fail(called, "; ".join(left), "every part in the mode it was in", think)
    settings = student.settings()
    if not settings["torch.is_grad_enabled()"]:
        fail(called, "gradients switched off for good", "as before")
    check_order(results, called)


def _called(student, spy, called):
    """The student's copy of the spy, once it was called at all."""
    mine = student.view(spy)
    if not mine.calls:
        fail(called, "no call of the model", "the model to be asked for logits")
    return mine


@pytest.mark.points(1)
def test_one_token_predicts_nothing(student, spy, rng):
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
    left = [name or "the model itself" for name, module in student.view(spy).named_modules() if not module.training]
    if left:
        fail(
            f"perplexity(model, tokens, {CONTEXT}), too few tokens",
            f"`{left and left[0]}` left in eval mode",
            "train mode, as before",
        )


@pytest.mark.points(1)
def test_drift_is_a_fraction_of_before(student, rng):
    drawn = [round(p, 2) for p in (torch.rand(2, generator=rng) * 30 + 20).tolist()]
    pairs = ((40.0, 41.0), (41.0, 40.0), (7.5, 7.5), (torch.tensor(40.0), torch.tensor(80.0)))
    for before, after in (*pairs, drawn, drawn[::-1]):
        called = f"drift(before={float(before)}, after={float(after)})"
        got, want = check_number(student.drift(before, after), called), float(after) / float(before) - 1
        think = "1 percent is 0.01. Which of the two is the reference?"
        if not math.isclose(got, want, rel_tol=1e-5, abs_tol=1e-7):
            fail(called, got, want, think)


@pytest.mark.points(1)
@pytest.mark.timeout(300)
def test_int8_costs_the_gpt_less_than_a_percent(student, rng, measured):
    # N3. Both figures are made here, of the logits; the student's have to be the same
    text, length = held_out_tokens(), WINDOWS * GPT_CONTEXT + 1
    start = int(torch.randint(len(text) - length, (), generator=rng))
    gpt, tokens = load_gpt(), text[start : start + length]
    few = tokens[: SOME * GPT_CONTEXT + 1]
    _check_perplexity(student, gpt, few, _nats(gpt, few, "gpt"), "gpt")  # what is wrong here need not go on for long
    before = _check_perplexity(student, gpt, tokens, _nats(gpt, tokens, "gpt"), "gpt")
    int8, what = student.exercise("ex05_linear_swap").swap_linears(gpt), "swap_linears(gpt)"
    nats = _nats(check_module(int8, what), tokens, what)
    _check_perplexity(student, int8, few, nats[:SOME], what)
    after = math.exp(nats.mean())
    change = after / before - 1
    measured |= {"perplexity fp32": before, "perplexity int8": after, "drift": change}
    called = f"swap_linears(gpt), on {WINDOWS} windows of held-out text"
    if not abs(change) < 0.01:
        fail(called, f"a drift of {change:+.2%}", "less than 1 % either way")


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
    if not math.isclose(got, want, rel_tol=1e-3):
        fail(called, got, want, think)
    return want
