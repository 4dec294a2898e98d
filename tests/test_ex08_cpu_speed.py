"""ex08: honest clocks, PyTorch's own int8, and a GPT that is twice as fast, timed by the grader."""

import math
import os
import random
import statistics

import pytest
import torch

from grader.suite.verdict import Undecided
from llm.checkpoint import load_gpt
from llm.corpus import held_out_tokens
from tests.messages import check_number, check_tensor, fail
from tests.models import check_int8_weights, check_memory, check_module, check_no_float_weight, on_disk, torch_dynamic
from tests.specimens import Nested

ROUNDS = 21  # pairs: enough for a sign test
TOKENS = 128  # of a call
YARDSTICK = 2.3  # how much faster PyTorch's own int8 must be before a machine may judge a learner's
CLOSE = 0.15  # relative error of logits: 7-bit activations with one scale a call stay well below


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


@pytest.fixture(scope="module")
def gpt():
    return load_gpt()


@pytest.fixture(scope="module")
def fast(student, gpt):
    """The learner's fastest GPT, made once: what is timed has to be int8, too."""
    called = "fast_int8(gpt)"
    model = check_module(student.fast_int8(gpt), called)
    check_int8_weights(model, gpt, called)
    check_no_float_weight(model, gpt, called)
    return model


@pytest.mark.points(2)
@pytest.mark.parametrize("warmup, repeats", [(0, 1), (0, 5), (3, 7), (5, 8), (1, 2)])
def test_latency_is_the_median_after_warming_up(student, rng, warmup, repeats):
    # lopsided, so that a trimmed mean is not the median; drawn, so that nobody knows it without the clock
    times = [round((0.5 + k**2) * factor, 3) for k, factor in enumerate(_factors(repeats, rng))]
    times[-1] = round(times[-1] * 100, 1)  # an outlier, which a mean would follow
    order = torch.randperm(repeats, generator=rng).tolist()
    script = [1e4] * warmup + [times[i] for i in order]
    watch = Stopwatch()
    called = f"median_latency(fn, warmup={warmup}, repeats={repeats}, clock)"
    got = check_number(student.median_latency(watch.job(script.__getitem__), warmup, repeats, watch.clock), called)
    want = statistics.median(times)
    think = "Do warm-up calls count, is it the middle one and not the mean, by the clock that was given?"
    if not math.isclose(got, want, rel_tol=1e-6):
        fail(called, got, f"{want:.7g}, from {sorted(times)}", think)
    if watch.calls != warmup + repeats:
        fail(called, f"{watch.calls} calls of fn", f"{warmup + repeats}")


@pytest.mark.points(2)
@pytest.mark.parametrize("rounds", [3, 4, 5, 9])
def test_speedup_is_the_median_of_paired_ratios(student, rng, rounds):
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
    think = "Are both timed in turn by the given clock, is there a ratio for every pair, and is the baseline on top?"
    if not math.isclose(got, want, rel_tol=1e-6):
        fail(called, got, f"{want:.7g}, from {sorted(ratios)}", think)
    few = min(calls, key=calls.get)  # to warm up with more of them is up to the student
    if not calls[few] >= rounds:
        fail(called, f"{calls[few]} calls of {few}", f"a call in each of {rounds} rounds")


@pytest.mark.points(2)
def test_dynamic_int8_is_pytorchs_own(student, rng):
    net, ids = Nested().eval(), torch.randint(40, (2, 7), generator=rng)
    before, settings = {name: t.clone() for name, t in net.state_dict().items()}, student.settings()
    called = "dynamic_int8(model)"
    int8 = check_module(student.dynamic_int8(net), called)
    check_int8_weights(int8, net, called)
    check_no_float_weight(int8, net, called, anywhere=False)  # PyTorch's graph mode keeps the original in its notes
    kinds = {type(t) for t in int8.state_dict().values()}
    if tuple not in kinds:
        fail(f"{called}.state_dict()", "no packed weights", "those of torch.ao's quantize_dynamic")
    with torch.no_grad():
        want = net(ids)
    error = ((int8(ids) - want).norm() / want.norm()).item()
    if not error < 0.1:
        fail(f"{called}(ids)", f"outputs off by {error:.1%}", "at most 10 %")
    _check_untouched(student, net, before, settings, called)


@pytest.mark.points(2)
@pytest.mark.timeout(120)
def test_fast_int8_really_is_int8(student, gpt, measured):
    ids = held_out_tokens()[None, :TOKENS]
    before, settings = {name: t.clone() for name, t in gpt.state_dict().items()}, student.settings()
    called = "fast_int8(gpt)"
    unusual = (os.cpu_count() or 1) + 1  # neither one nor all: what was set has to come back, whatever it is
    with student.threads(unusual), student.engine(_other_engine()):
        as_set = student.settings()
        int8 = check_module(student.fast_int8(gpt), called)
        check_settings(student, as_set, called)
    check_int8_weights(int8, gpt, called)
    check_no_float_weight(int8, gpt, called)
    check_memory(int8, gpt, called)
    ratio = on_disk(gpt.state_dict()) / on_disk(int8.state_dict())
    if not ratio >= 2.8:
        fail(f"{called}.state_dict()", f"{ratio:.2f} times smaller", "at least 2.8 times")
    error = _logit_error(gpt, int8, ids)
    measured["logit error of fast_int8"] = error
    if not error < CLOSE:
        fail(f"{called}(ids)", f"logits off by {error:.1%}", f"at most {CLOSE:.0%}")
    _check_untouched(student, gpt, before, settings, called)


@pytest.mark.points(2)
@pytest.mark.timeout(300)
def test_the_gpt_is_twice_as_fast(student, gpt, fast, measured):
    # N2, timed here: fresh tokens for every round, outputs verified, all contenders in turn, one thread. These tokens
    # are drawn now: what the seed foretells could be computed before it is timed.
    text, dice = held_out_tokens(), random.SystemRandom()
    with student.threads(1):
        yardstick = student.host(_fastest_dynamic(student, gpt, text[None, :TOKENS]))
        baseline, control = student.host(gpt), student.host(gpt)
        contenders = {"student": fast, "yardstick": yardstick, "control": control}
        ratios = {name: [] for name in contenders}
        for round_ in range(ROUNDS + 1):
            start = dice.randrange(len(text) - TOKENS)
            ids = text[None, start : start + TOKENS]
            base, want = student.timed(baseline, ids)
            for name, contender in contenders.items():
                seconds, logits = student.timed(contender, ids)
                check_tensor(logits, f"{name}(ids)", want.shape, torch.float32)
                if round_:  # the first is a warm-up
                    ratios[name].append(base / seconds)
                error = ((logits - want).norm() / want.norm()).item()
                if not error < CLOSE:
                    fail(f"{name}(ids)", f"logits off by {error:.1%}", f"at most {CLOSE:.0%}")
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
    if speedup["student"] >= 2 and luck < 0.01:
        return
    got = f"{speedup['student']:.2f} times as fast as float32 ({wins} of {ROUNDS} rounds faster), on one thread"
    if speedup["yardstick"] < YARDSTICK:
        better = ", which is still faster than yours" * (speedup["student"] < 0.9 * speedup["yardstick"])
        raise Undecided(
            f"fast_int8(gpt) is {got}; this machine cannot judge that, since PyTorch's own int8 reaches only "
            f"{speedup['yardstick']:.2f} times here ({YARDSTICK} needed){better}"
        )
    fail(
        f"fast_int8(gpt) on {TOKENS} tokens",
        got,
        f"at least 2.00; quantize_dynamic's best engine reaches {speedup['yardstick']:.2f} here, "
        f"float32 against itself {speedup['control']:.2f}",
        "Which engines does this machine have, and which kernels does each bring?",
    )


def _factors(n, rng):
    """n numbers between 0.5 and 1.5."""
    return (0.5 + torch.rand(n, generator=rng, dtype=torch.float64)).tolist()


def _logit_error(gpt, int8, ids):
    with torch.no_grad():
        want = gpt(ids)
    return ((int8(ids) - want).norm() / want.norm()).item()


def _fastest_dynamic(student, gpt, ids):
    """quantize_dynamic with the engine that is fastest on this machine."""
    seconds, models = {}, {}
    for engine in torch.backends.quantized.supported_engines:
        try:
            models[engine] = torch_dynamic(gpt, engine)
            hosted = student.host(models[engine])
            seconds[engine] = min(student.timed(hosted, ids)[0] for _ in range(4))
        except RuntimeError:  # an engine may be listed and yet not run here
            continue
    return models[min(seconds, key=seconds.get)]


def _other_engine():
    """One that is not set now, where there is one."""
    now = torch.backends.quantized.engine
    return next((e for e in torch.backends.quantized.supported_engines if e not in (now, "none")), now)


def _check_untouched(student, model, before, settings, called):
    now = student.view(model).state_dict()
    same = now.keys() == before.keys() and all(torch.equal(t, before[name]) for name, t in now.items())
    if not same:
        fail(called, "changes in the original model", "the original untouched", "Copy first?")
    check_settings(student, settings, called)


def check_settings(student, before, called):
    for name, value in student.settings().items():
        think = "Whatever you switch for a moment: what was it before, and what if something fails in between?"
        if value != before[name]:
            fail(called, f"{name} is now {value}", f"{before[name]}, as before", think)
