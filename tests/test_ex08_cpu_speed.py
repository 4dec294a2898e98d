"""ex08: honest clocks, PyTorch's own int8, and a GPT that is twice as fast, timed by the grader."""

import contextlib
import functools
import math
import os
import random
import statistics

import pytest
import torch

from grader.suite.pytorch_quantization import engines, torch_dynamic
from grader.suite.verdict import Undecided
from llm.checkpoint import load_gpt
from llm.corpus import held_out_tokens
from tests import oracle
from tests.laws import laws
from tests.messages import check_number, check_tensor, fail, percent
from tests.models import changed, check_int8_weights, check_memory, check_module, check_no_float_weight, on_disk
from tests.specimens import Nested
from tests.values_alone import check_function

ROUNDS = 21  # pairs: enough for a sign test
TOKENS = 128  # of a call
FAST = "fast_int8(gpt)"


class Stopwatch:
    """A clock that moves only while its jobs run, each for the seconds that a script says."""

    def __init__(self):
        self.now, self.calls = 1000.0, 0

    def clock(self):
        return self.now

    def job(self, seconds):
        """A callable whose k-th call of all jobs of this stopwatch takes seconds(k)."""

        def run():
            self.now += seconds(self.calls)
            self.calls += 1

        return run


@pytest.fixture(scope="module", autouse=True)
def at_first(student):
    """PyTorch's settings before the first call of the learner's code."""
    return student.settings()


@pytest.fixture(scope="module")
def gpt():
    return load_gpt()


@pytest.fixture(scope="module")
def fast(student, gpt):
    """The learner's fastest GPT, made once: what is timed has to be int8, too."""
    model = check_module(student.fast_int8(gpt), FAST)
    check_int8(model, gpt)
    return model


@pytest.fixture(scope="module")
def made(student, gpt):
    """made(): the learner's fastest GPT, made once and by the first test that asks, with unusual settings."""

    @functools.cache
    def make():
        with _settings(student, 0):
            return check_module(student.fast_int8(gpt), FAST)

    return make


@pytest.mark.points(2)
@pytest.mark.parametrize("warmup, repeats", [(0, 1), (0, 5), (3, 7), (5, 8), (1, 2)])
def test_latency_is_the_median_after_warming_up(student, rng, warmup, repeats):
    """Latency is the median of the timed calls, without those that warm up."""
    # lopsided, so that a trimmed mean is not the median; drawn, so that nobody knows it without the clock
    times = [round((0.5 + k**2) * factor, 3) for k, factor in enumerate(_factors(repeats, rng))]
    times[-1] = round(times[-1] * 100, 1)  # an outlier, which a mean would follow
    order = torch.randperm(repeats, generator=rng).tolist()
    script = [1e4] * warmup + [times[i] for i in order]
    watch = Stopwatch()
    called = f"median_latency(fn, warmup={warmup}, repeats={repeats}, clock)"
    got = check_number(student.median_latency(watch.job(script.__getitem__), warmup, repeats, watch.clock), called)
    want = statistics.median(times)
    think = "Do warm-up calls count? Is it the median and not the mean? Is the time that of the given clock?"
    if not math.isclose(got, want, rel_tol=oracle.MEDIAN):
        fail(called, got, f"{want:.7g}, from {sorted(times)}", think)
    if watch.calls != warmup + repeats:
        fail(called, f"{watch.calls} calls of fn", f"{warmup + repeats}")


@pytest.mark.points(2)
@pytest.mark.parametrize("rounds", [3, 4, 5, 9])
def test_speedup_is_the_median_of_paired_ratios(student, rng, rounds):
    """Speedup is the median of the ratios of pairs that were timed in turn."""
    # the machine is up to 100 times slower in some pairs; repeating itself, so that a warm-up pair changes nothing
    slow = [10.0 ** (2 * k / (rounds - 1)) for k in torch.randperm(rounds, generator=rng).tolist()]
    order = torch.randperm(rounds, generator=rng).tolist()
    ratios = [round((2 + 0.3 * k**2) * f, 3) for k, f in zip(order, _factors(rounds, rng), strict=True)]
    ratios[ratios.index(max(ratios))] = round(max(ratios) * 100, 1)  # an outlier, which a mean would follow
    watch, calls = Stopwatch(), {"baseline": 0, "candidate": 0}

    def job(name, seconds):
        def counted(k):
            calls[name] += 1
            return seconds(k // 2 % rounds)

        return watch.job(counted)

    baseline = job("baseline", lambda pair: slow[pair] * ratios[pair])
    candidate = job("candidate", lambda pair: slow[pair])
    called = f"paired_speedup(baseline, candidate, rounds={rounds}, clock) on a machine that slows down at times"
    got = check_number(student.paired_speedup(baseline, candidate, rounds, watch.clock), called)
    want = statistics.median(ratios)
    think = "Are both timed in turn by the given clock? Is there a ratio for every pair, baseline / candidate?"
    if not math.isclose(got, want, rel_tol=oracle.MEDIAN):
        fail(called, got, f"{want:.7g}, from {sorted(ratios)}", think)
    few = min(calls, key=calls.get)  # to warm up with more of them is up to the student
    if not calls[few] >= rounds:
        fail(called, f"{calls[few]} calls of {few}", f"a call in each of {rounds} rounds")


@pytest.mark.points(1)
def test_dynamic_int8_is_pytorchs_own(student, rng):
    """Dynamic quantization is PyTorch's own."""
    net, ids = Nested().eval(), torch.randint(40, (2, 7), generator=rng)
    called = "dynamic_int8(model)"
    int8 = check_module(student.dynamic_int8(net), called)
    check_int8_weights(int8, net, called)
    check_no_float_weight(int8, net, called, anywhere=False)  # PyTorch's graph mode keeps the original in its notes
    kinds = {type(t) for t in int8.state_dict().values()}
    if tuple not in kinds:
        fail(f"{called}.state_dict()", "no packed weights", "those of torch.ao's quantize_dynamic")
    error = relative_error(int8(ids), net, ids, f"{called}(ids)")
    if not error < oracle.DYNAMIC:
        fail(f"{called}(ids)", f"outputs off by {error:.1%}", f"at most {percent(oracle.DYNAMIC)}")


@pytest.mark.points(1)
def test_dynamic_int8_leaves_all_else_as_it_was(student, at_first, rng):
    """Dynamic quantization leaves the model and torch's settings as they were."""
    ids, called = torch.randint(40, (2, 7), generator=rng), "dynamic_int8(model)"
    for k in (0, 1):
        net = Nested().train()
        net.heads.eval()
        net.embedding.requires_grad_(False)
        with _settings(student, k) as chosen:
            int8 = check_module(student.dynamic_int8(net), called)
            check_int8_weights(int8, net, called)
            int8(ids)
            check_untouched(student, net, called)
            check_settings(student, at_first | chosen, called)


def _its_weights_are_int8(student, made, gpt, measured):
    """Every Linear's weight is int8, and no float copy of it is kept, not even after a call."""
    check_int8(made(), gpt)


def _it_is_small(student, made, gpt, measured):
    """It takes a byte for each weight, in memory and in the state dict."""
    check_memory(made(), gpt, FAST)
    ratio = on_disk(gpt.state_dict()) / on_disk(made().state_dict())
    if not ratio >= oracle.SMALLER[0]:
        fail(f"{FAST}.state_dict()", f"{ratio:.2f} times smaller", f"at least {oracle.SMALLER[0]} times")


def _its_logits_are_close(student, made, gpt, measured):
    """Its logits are close to those of float32, whatever the shape of the ids."""
    text = held_out_tokens()
    for B, T in ((1, TOKENS), (1, 1), (1, gpt.config.block_size), (3, 20)):
        ids, called = text[: B * T].view(B, T), f"{FAST}(ids), ids of shape ({B}, {T})"
        error = relative_error(made()(ids), gpt, ids, called)
        if (B, T) == (1, TOKENS):
            measured["logit error of fast_int8"] = error
        check_close_logits(error, called)


def _its_logits_depend_on_the_ids_alone(student, made, gpt, measured):
    """Its logits depend on the values of the ids alone, and no later call changes them."""
    text = held_out_tokens()
    calls = [(text[None, :TOKENS],), (text[None, TOKENS : 2 * TOKENS],)]

    def check(logits, arguments, called, think):
        check_close_logits(relative_error(logits, gpt, *arguments, called), called, think)

    check_function(student, made(), calls, check, FAST)


@pytest.mark.points(1)
@pytest.mark.timeout(120)
@laws(_its_weights_are_int8, _it_is_small, _its_logits_are_close, _its_logits_depend_on_the_ids_alone)
def test_fast_int8_really_is_int8(student, made, gpt, measured, law):
    """The fastest int8 GPT really is int8."""
    law(student, made, gpt, measured)


@pytest.mark.points(1)
@pytest.mark.timeout(120)
def test_fast_int8_leaves_all_else_as_it_was(student, at_first, gpt):
    """Making the fastest GPT leaves the model and torch's settings as they were."""
    for k in (0, 1):
        with _settings(student, k) as chosen:
            int8 = check_module(student.fast_int8(gpt), FAST)
            check_settings(student, at_first | chosen, FAST)
            check_int8_weights(int8, gpt, FAST)
            int8(held_out_tokens()[None, :TOKENS])
            check_untouched(student, gpt, FAST)
            check_settings(student, at_first | chosen, f"{FAST}(ids)")


@pytest.mark.points(2)
@pytest.mark.slow("fast_int8")
@pytest.mark.timeout(300)
def test_the_gpt_is_twice_as_fast(student, gpt, fast, measured, progress):
    """The GPT is at least twice as fast as in float32."""
    # N2, timed here: fresh tokens for every round, outputs verified, all contenders in turn, one thread. These tokens
    # are drawn now: what the seed foretells could be computed before it is timed.
    text, dice = held_out_tokens(), random.SystemRandom()
    with student.threads(1):
        yardstick = student.host(_fastest_dynamic(student, gpt, text[None, :TOKENS]))
        baseline, control = student.host(gpt), student.host(gpt)
        contenders = {"student": fast, "yardstick": yardstick, "control": control}
        ratios = {name: [] for name in contenders}
        for round_ in range(ROUNDS + 1):
            progress(f"round {round_ + 1} of {ROUNDS + 1}")
            start = dice.randrange(len(text) - TOKENS)
            ids = text[None, start : start + TOKENS]
            base, want = student.timed(baseline, ids)
            for name, contender in contenders.items():
                seconds, logits = student.timed(contender, ids)
                check_tensor(logits, f"{name}(ids)", want.shape, torch.float32)
                if round_:  # the first is a warm-up
                    ratios[name].append(base / seconds)
                check_close_logits(((logits - want).norm() / want.norm()).item(), f"{name}(ids)")
    speedup = {name: statistics.median(values) for name, values in ratios.items()}
    measured |= {
        "speedup": speedup["student"],
        "speedup of quantize_dynamic": speedup["yardstick"],
        "speedup of fp32 against itself": speedup["control"],
    }
    judge(speedup, wins=sum(ratio > 1 for ratio in ratios["student"]))


def judge(speedup: dict[str, float], wins: int) -> None:
    """The verdict on the median speedups over float32 of the student, the yardstick and the control.

    wins:   in how many of ROUNDS rounds the student was faster than float32
    raises: WrongAnswer for a student who is too slow; Undecided where that may be the machine's doing, because the
            yardstick is slow as well
    """
    luck = sum(math.comb(ROUNDS, k) for k in range(wins, ROUNDS + 1)) / 2**ROUNDS  # sign test: chance between equals
    if speedup["student"] >= oracle.TWICE and luck < oracle.LUCK:
        return
    got = f"{speedup['student']:.2f} times as fast as float32 ({wins} of {ROUNDS} rounds faster), on one thread"
    if speedup["yardstick"] < oracle.YARDSTICK:
        better = ", which is still faster than yours" * (speedup["student"] < oracle.SLOWER * speedup["yardstick"])
        raise Undecided(
            f"{FAST} is {got}; this machine cannot judge that, since PyTorch's own int8 reaches only "
            f"{speedup['yardstick']:.2f} times here ({oracle.YARDSTICK} needed){better}"
        )
    fail(
        f"{FAST} on {TOKENS} tokens",
        got,
        f"at least {oracle.TWICE:.2f}; quantize_dynamic's best engine reaches {speedup['yardstick']:.2f} here, "
        f"float32 against itself {speedup['control']:.2f}",
        "Which engines does this machine have, and which kernels does each bring?",
    )


def check_int8(model, gpt):
    """Every Linear's weight is int8, and no float copy is kept, not even from the first call on."""
    check_int8_weights(model, gpt, FAST)
    check_no_float_weight(model, gpt, FAST)
    model(held_out_tokens()[None, :1])  # a single token: what a layer keeps of its inputs is smaller than a weight
    check_no_float_weight(model, gpt, f"{FAST}, once it was called")


def _factors(n, rng):
    """n numbers between 0.5 and 1.5."""
    return (0.5 + torch.rand(n, generator=rng, dtype=torch.float64)).tolist()


def relative_error(got, model, ids, called):
    """How far an int8 model's output is from that of the float32 model, over all of it."""
    with torch.no_grad():
        want = model(ids)
    check_tensor(got, called, want.shape, torch.float32)
    return ((got - want).norm() / want.norm()).item()


def check_close_logits(error, called, think=""):
    if not error < oracle.LOGITS:
        fail(called, f"logits off by {error:.1%}", f"at most {percent(oracle.LOGITS)}", think)


def _fastest_dynamic(student, gpt, ids):
    """quantize_dynamic with the engine that is fastest on this machine."""
    seconds, models = {}, {}
    for engine in engines():
        try:
            models[engine] = torch_dynamic(gpt, engine)
            hosted = student.host(models[engine])
            seconds[engine] = min(student.timed(hosted, ids)[0] for _ in range(4))
        except RuntimeError:  # an engine may be listed and yet not run here
            continue
    return models[min(seconds, key=seconds.get)]


@contextlib.contextmanager
def _settings(student, k):
    """One of two choices, 0 or 1, of settings that nobody would choose: other engines, other numbers of threads.

    An answer that leaves a setting of its own behind leaves the same one in both, so one of the two shows it.
    """
    threads, engine = (os.cpu_count() or 1) + 1 + k, engines()[k % len(engines())]
    with student.threads(threads), student.engine(engine):
        yield {"torch.get_num_threads()": threads, "torch.backends.quantized.engine": engine}


def check_untouched(student, model, called):
    """The model that was handed over is as the suite's own."""
    if change := changed(student.view(model), model):
        fail(called, change, "the original model as it was", "Is the model copied before anything in it changes?")


def check_settings(student, before, called):
    think = "Which line puts back the setting that was there before, even if something fails in between?"
    for name, value in student.settings().items():
        if value != before[name]:
            fail(called, f"{name} is now {value}", f"{before[name]}, as before", think)
