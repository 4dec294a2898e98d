"""ex12: the columns that matter are scaled up before rounding, as far as a calibration set says."""

import pytest
import torch
from torch import nn

from llm.checkpoint import load_gpt
from llm.corpus import calibration_tokens
from llm.evaluate import window_nats
from llm.linears import linear_inputs, with_layers, with_weights
from llm.outliers import with_outliers
from tests import oracle
from tests.gpt import Inserted, drift, some_text, to_nearest
from tests.messages import check_tensor, check_unchanged, describe, fail
from tests.models import check_module

STEPS = 10  # of alpha, in the oracle's search
SHARE = 0.6  # of what the oracle's search gets back at 3 bits
SLACK = 1.3  # on the oracle's error: other steps of alpha and other normalizations come within 1.1, half the method not
NEAREST = 1.01  # on that of rounding to nearest, whose scales may have another precision
LAYER = "W s is what is rounded, and x / s what it meets: is each of them there once, with the s of awq_scales?"
AS_NEAREST = "As if nothing was scaled: which s wins, is any of its candidates a nan, and what are they compared by?"
SEARCH = "What is tried, by which error is it judged, and what does rounding a scaled weight do to the step?"
TOGETHER = "all others equal and moving together"
SMALL = 0.02  # of x at 3 bits: what matters is how large activations are beside one another
SUMS = "Errors of columns that move together add up before they are squared: is it the output that is compared?"
WINDOWS, CALIBRATION = 12, 6
CHANNELS, ALPHA = 51, (8.0, 30.0)  # about one in ten


def output_error(w, x, rounded):
    """Mean square of x @ (rounded - w).T, in float64."""
    return (x.double() @ (rounded - oracle.exact(w)).t()).square().mean().item()


def scaled_round_trip(w, s, bits, size):
    """Q(w s) / s in float64."""
    scaled = (oracle.exact(w) * s.double()).float()
    return oracle.grouped_round_trip(scaled, bits, size) / s.double()


def best_weight(w, x, bits, size):
    """Q(w s) / s, (N, K) float64, of the s = mean|x| ** alpha with the least output error."""
    magnitude, gram = x.double().abs().mean(dim=0).clamp(min=1e-12), x.t() @ x
    least, best = float("inf"), None
    for k in range(STEPS + 1):
        s = magnitude ** (k / STEPS)
        weight = scaled_round_trip(w, s / (s.max() * s.min()).sqrt(), bits, size)
        error = (weight - w).float()
        loss = ((error @ gram) * error).sum().item()
        least, best = min((least, best), (loss, weight), key=lambda pair: pair[0])
    return best


def best_error(w, x, bits, size):
    return output_error(w, x, best_weight(w, x, bits, size))


def to_nearest_error(w, x, bits, size):
    return output_error(w, x, oracle.grouped_round_trip(w, bits, size))


def some_layer(kind, n, k, rng):
    """(w, x): a weight (N, K) and activations (256, K), some of whose channels are large."""
    x = torch.randn(256, k, generator=rng)
    w = torch.randn(n, k, generator=rng) * 0.02
    chosen = torch.randperm(k, generator=rng)[: k // 10]
    factors = 8.0 * (30 / 8) ** torch.rand(k // 10, generator=rng)
    x[:, chosen] *= factors
    if kind == "small weights":  # as in a GPT with outliers: small where activations are large
        w[:, chosen] /= factors
    elif kind == "large weights":  # large where activations are large: scaling them up costs all others their steps
        w[:, chosen] *= 3
    elif kind == "alike":  # no channel stands out
        x[:, chosen] /= factors
    elif kind == TOGETHER:  # together they count more than the large ones, though each of them counts less
        rest = torch.ones(k, dtype=torch.bool)
        rest[chosen] = False
        x[:, rest] = torch.randn(256, 1, generator=rng) + 0.1 * x[:, rest]
        w[:, rest] = torch.randn(n, 1, generator=rng) * 0.02
    return w, x


# first those for which no scaling is nearly right: what passes here tells mistakes apart that look alike below
KIND = pytest.mark.parametrize("kind", ["large weights", "alike", TOGETHER, "equal weights", "small weights"])
WIDTH = pytest.mark.parametrize("bits, size", [(4, None), (3, None), (4, 32)], ids=lambda value: str(value))


@pytest.mark.points(1)
@pytest.mark.parametrize("lead", [(50,), (4, 9)], ids=lambda lead: f"x {(*lead, 24)}")
def test_magnitude_is_the_mean_of_absolute_values(student, rng, lead):
    x = torch.randn(*lead, 24, generator=rng) * torch.logspace(-2, 2, 24) + torch.randn(24, generator=rng)
    for dtype in (torch.float32, torch.float16):
        x = x.to(dtype)
        called = f"activation_magnitude(x), x {str(dtype).removeprefix('torch.')} {tuple(x.shape)}"
        got = check_tensor(student.activation_magnitude(x), called, (24,), torch.float32)
        check_unchanged(x, student.view(x), called)
        want = oracle.exact(x).abs().reshape(-1, 24).mean(dim=0)
        think = "Do signs cancel, is it a mean of |x| and not of squares, and over which axes does it run?"
        oracle.check_close(got, want, want * 1e-4, called, "mean |x| over all tokens", think)


@pytest.mark.points(1)
def test_every_column_gets_a_factor(student, rng):
    w, x = some_layer("small weights", 48, 160, rng)
    dead, nothing = x.clone(), torch.zeros(32, 160)
    dead[:, [3, 17]] = 0
    cases = {
        "x (256, 160)": x,
        "two features of x always 0": dead,
        "x all 0": nothing,
        "x (4, 64, 160)": x.view(4, 64, 160),
    }
    for what, some_x in cases.items():
        called = f"awq_scales(w, x, 4, None), {what}"
        s = check_tensor(student.awq_scales(w, some_x, 4, None), called, (160,), torch.float32)
        check_unchanged(w, student.view(w), called)
        check_unchanged(some_x, student.view(some_x), called)
        think = "What is 0 ** alpha, and what comes of dividing by it?"
        good = (s > 0) & s.isfinite()
        if not good.all():
            fail(called, describe(s), "a positive finite factor for each of the 160 columns", think)
        if what != "x all 0":
            flat = some_x.reshape(-1, 160)
            error, usual = output_error(w, flat, scaled_round_trip(w, s, 4, None)), to_nearest_error(w, flat, 4, None)
            best = best_error(w, flat, 4, None)
            _check_error(error, usual, max(best, (best + usual) / 2 / SLACK) if "always 0" in what else best, called)


@pytest.mark.points(2)
@WIDTH
@KIND
def test_the_search_finds_the_least_output_error(student, rng, kind, bits, size):
    where = TOGETHER if kind == TOGETHER else f"{kind} where activations are large"
    where, unit = (f"{where}, all of x small", SMALL) if bits == 3 else (where, 1)
    called = f"awq_scales(w, x, {bits}, {size}), {where}"
    found = []
    for _ in range(3):
        w, x = some_layer(kind, 48, 160, rng)
        x = x * unit
        s = check_tensor(student.awq_scales(w, x, bits, size), called, (160,), torch.float32)
        if not ((s > 0) & s.isfinite()).all():
            fail(called, describe(s), "a positive finite factor for each column")
        error = output_error(w, x, scaled_round_trip(w, s, bits, size))
        found.append((error, to_nearest_error(w, x, bits, size), best_error(w, x, bits, size)))
    think = SUMS if kind == TOGETHER else SEARCH
    _check_error(*(sum(errors) / 3 for errors in zip(*found, strict=True)), called, think)


def _check_error(error, usual, best, called, think=SEARCH):
    got, most = f"a mean square error of the output of {error:.4g}", min(usual * NEAREST, best * SLACK)
    expected = f"at most {most:.4g} (round to nearest: {usual:.4g}, best power of magnitude: {best:.4g})"
    think = AS_NEAREST if abs(error / usual - 1) < 1e-4 else think
    if not error <= most:
        fail(called, got, expected, think)


@pytest.mark.points(2)
@WIDTH
@pytest.mark.parametrize("bias", [True, False], ids=["bias", "no bias"])
def test_a_layer_computes_with_the_scaled_and_rounded_weight(student, rng, bias, bits, size):
    w, x = some_layer("equal weights", 48, 160, rng)
    tokens = x.view(2, 128, 160)
    linear = nn.Linear(160, 48, bias=bias)
    linear.weight.data = w
    if bias:
        linear.bias.data = torch.randn(48, generator=rng)
    called = f"awq_linear(linear, x, {bits}, {size})"
    layer = check_module(student.awq_linear(linear, tokens, bits, size), called)
    check_unchanged(tokens, student.view(tokens), called)
    check_unchanged(w, student.view(linear).weight.detach(), called)
    weight = _effective_weight(layer, linear, called)
    error = output_error(w, x, weight)
    _check_error(error, to_nearest_error(w, x, bits, size), best_error(w, x, bits, size), called, LAYER)
    y = check_tensor(layer(tokens), f"{called}(x)", (2, 128, 48), torch.float32)
    want = x.double() @ weight.t() + (linear.bias.detach().double() if bias else 0)
    error = ((y.view(256, 48) - want).norm() / want.norm()).item()
    think = "Is every x divided by the factors that its weights were multiplied by?"
    if not error < 1e-4:
        fail(f"{called}(x)", f"outputs off by {error:.2%}", "one weight for every x", think)
    s = student.awq_scales(w, tokens, bits, size).double()
    levels = [
        row[oracle.group_of(160, size) == g]
        for row in weight * s
        for g in range(int(oracle.group_of(160, size)[-1]) + 1)
    ]
    most = max(1 + int((part.sort().values.diff() > 1e-4 * part.abs().max()).sum()) for part in levels)
    allowed = 2**bits - 1
    think = "Is W s rounded, and by the factors that awq_scales returns?"
    if not most <= allowed:
        fail(called, f"{most} values in a group of W s", f"at most {allowed}, for {bits} bits", think)


def _effective_weight(layer, linear, called):
    """(N, K) float64: what the layer multiplies with, seen from outside."""
    k, n = linear.in_features, linear.out_features
    got = check_tensor(layer(1000 * torch.eye(k)), f"{called}(x)", (k, n), torch.float32).double()  # beside a bias
    return (got - (0 if linear.bias is None else linear.bias.detach().double())).t() / 1000


@pytest.mark.points(1)
def test_scaling_alone_changes_nothing(student, rng):
    w, x = some_layer("equal weights", 48, 160, rng)
    linear = nn.Linear(160, 48)
    linear.weight.data = w
    called = "awq_linear(linear, x, 7, 16)"
    layer = check_module(student.awq_linear(linear, x.view(2, 128, 160), 7, 16), called)
    other = x.flip(0) * 0.7 + 0.1  # not what it was calibrated on
    got = check_tensor(layer(other), f"{called}(x)", (256, 48), torch.float32)
    want = linear(other).double()
    error = ((got - want).norm() / want.norm()).item()
    think = "(x / s) times (W s): is each of them there once, and along the columns?"
    if not (0 < error < 0.01):
        fail(f"{called}(x)", f"outputs off by {error:.3%}", "at most 1 %: 7 bits hardly round", think)


@pytest.fixture(scope="module")
def bed(seed):
    """A GPT with salient channels, the inputs of its Linears, held-out text, and the nats of that."""
    rng = torch.Generator().manual_seed(seed)
    plain = load_gpt()
    gpt = with_outliers(plain, CHANNELS, ALPHA, seed=int(torch.randint(1000, (), generator=rng)))
    text = some_text(WINDOWS, rng)
    return plain, gpt, linear_inputs(gpt, calibration_tokens(CALIBRATION)), text, window_nats(gpt, text)


def _bed(student, request, bits):
    """The bed, for whose answer is more than a stub: it takes seconds."""
    called = f"awq_linear(linear, x, {bits}, None), weight (4, 4)"
    layer = check_module(student.awq_linear(nn.Linear(4, 4), torch.eye(4), bits, None), called)
    check_tensor(layer(torch.eye(4)), f"{called}(x)", (4, 4), torch.float32)
    return request.getfixturevalue("bed")


def awq_gpt(student, gpt, inputs, bits):
    """The GPT of a student's layers, once none of them is worse than rounding to nearest."""

    def make(name, linear):
        x = inputs[name]
        called = f"awq_linear(gpt.{name}, x, {bits}, None)"
        layer = check_module(student.awq_linear(linear, x, bits, None), called)
        w, weight = linear.weight.detach(), _effective_weight(layer, linear, called)
        gram = (x.t() @ x).double() / len(x)
        error, usual = (
            ((e @ gram) * e).sum().item() / len(w) for e in (weight - w, oracle.grouped_round_trip(w, bits, None) - w)
        )
        expected = f"at most {usual:.4g}, as by rounding to nearest"
        got = f"a mean square error of the output of {error:.4g}"
        if not error <= usual * NEAREST:
            fail(called, got, expected, f"Is it by this x and in {bits} bits? {LAYER}")
        if not error >= usual * 1e-3:
            fail(called, got, f"some rounding to show in {bits} bits")
        return Inserted(layer, linear, called)

    return with_layers(gpt, make)


@pytest.mark.points(2)
@pytest.mark.timeout(300)
def test_four_bits_cost_the_gpt_a_third(student, request, measured):
    _, gpt, inputs, text, before = _bed(student, request, 4)
    usual = drift(window_nats(to_nearest(gpt, 4), text), before)
    change = drift(window_nats(awq_gpt(student, gpt, inputs, 4), text), before)
    measured |= {"drift int4, salient channels, to nearest": usual, "drift int4, salient channels, AWQ": change}
    called = "the GPT with salient channels, of awq_linear(linear, x, 4, None)"
    expected = f"at most {usual / 3:+.2%}, a third of what rounding to nearest costs ({usual:+.2%})"
    if not change <= usual / 3:
        fail(called, f"a drift of {change:+.2%}", expected, SEARCH)


@pytest.mark.points(1)
@pytest.mark.timeout(300)
def test_three_bits_come_nearer_to_the_gpt_without_salient_channels(student, request, measured):
    plain, gpt, inputs, text, before = _bed(student, request, 3)
    after = window_nats(awq_gpt(student, gpt, inputs, 3), text)
    usual = window_nats(to_nearest(gpt, 3), text)
    ours = window_nats(with_weights(gpt, lambda name, w: best_weight(w, inputs[name], 3, None)), text)
    measured |= {
        "drift int3, salient channels, to nearest": drift(usual, before),
        "drift int3, salient channels, AWQ": drift(after, before),
        "drift int3, no salient channels, to nearest": drift(window_nats(to_nearest(plain, 3), text), before),
    }
    share = ((usual - after).mean() / (usual - ours).mean()).item()
    called = "the GPT with salient channels, of awq_linear(linear, x, 3, None)"
    expected = f"{SHARE:.0%} or more of that: how far, is a matter of the channels drawn"
    found = f"{share:.0%} of what the suite's own search gets back ({drift(usual, before):+.0%} to nearest, "
    found += f"{drift(ours, before):+.0%} by its search, {drift(after, before):+.0%} by yours)"
    if not share >= SHARE:
        fail(called, found, expected, SEARCH)
