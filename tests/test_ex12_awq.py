"""ex12: columns that meet large activations are scaled up before rounding, as far as a calibration set shows."""

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
from tests.laws import laws
from tests.messages import check_tensor, check_unchanged, describe, fail, percent
from tests.models import check_module
from tests.values_alone import OBJECTS, ORDER, OWN, check_function, check_layer, layouts

STEPS = 10  # of alpha, in the oracle's search
LAYER = "Is W s what is rounded, and is x divided by the same s, the one that awq_scales returns?"
AS_NEAREST = (
    "This is the error of s = 1, as if alpha = 0 had won. Is W multiplied by s before it is rounded, and the result "
    "divided by s before it is compared? Is an error nan?"
)
INVERTED = "A column whose error has to shrink: is it multiplied by its factor before it is rounded, or divided by it?"
SEARCH = "Which candidates are tried, by which error are they judged, and what does scaling a weight do to the step?"
TOGETHER = "all others equal and moving together"
SMALL = 0.02  # of x at 3 bits: what matters is how large activations are beside one another
SUMS = "Errors of columns that move together add up before they are squared. Is it the output that is compared?"
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


def some_activations(rng, *lead):
    return torch.randn(*lead, 24, generator=rng) * torch.logspace(-2, 2, 24) + torch.randn(24, generator=rng)


def check_magnitude(got, x, called, think):
    check_tensor(got, called, (24,), torch.float32)
    want = oracle.exact(x).abs().reshape(-1, 24).mean(dim=0)
    oracle.check_close(got, want, want * oracle.MAGNITUDE, called, "mean |x| over all tokens", think)


def _mean_over_all_tokens(student, rng):
    """The mean of |x| runs over all tokens, in whichever shape they come."""
    for lead in ((50,), (4, 9), (2, 3, 4), (1,), ()):
        x = some_activations(rng, *lead)
        for dtype in (torch.float32, torch.float16, torch.float64):
            x = x.to(dtype)
            called = f"activation_magnitude(x), x {str(dtype).removeprefix('torch.')} {tuple(x.shape)}"
            think = "Do signs cancel, is it a mean of |x| and not of squares, and over which axes does it run?"
            check_magnitude(student.activation_magnitude(x), x, called, think)
            check_unchanged(x, student.view(x), called)


def _magnitude_of_values_alone(student, rng):
    """The magnitude depends on the values of x alone."""
    x = some_activations(rng, 4, 9)
    for what, other in layouts(x).items():
        check_magnitude(student.activation_magnitude(other), x, f"activation_magnitude(x), {what}", ORDER)
    calls = [(x,), (some_activations(rng, 4, 9),)]
    check_function(
        student,
        "activation_magnitude",
        calls,
        lambda got, arguments, called, think: check_magnitude(got, *arguments, called, think),
        "activation_magnitude(x)",
    )


@pytest.mark.points(1)
@laws(_mean_over_all_tokens, _magnitude_of_values_alone)
def test_magnitude_is_the_mean_of_absolute_values(student, rng, law):
    """The magnitude of a feature is the mean of |x| over all tokens."""
    law(student, rng)


def check_factors(s, called):
    if not ((s > 0) & s.isfinite()).all():
        think = "What is 0 ** alpha, and what comes of dividing by it?"
        fail(called, describe(s), f"a positive finite factor for each of the {len(s)} columns", think)


def factors(student, w, x, what):
    """awq_scales(w, x, 4, None), once they are positive and finite, and what was called."""
    called = f"awq_scales(w, x, 4, None), {what}"
    s = check_tensor(student.awq_scales(w, x, 4, None), called, (160,), torch.float32)
    check_unchanged(w, student.view(w), called)
    check_unchanged(x, student.view(x), called)
    check_factors(s, called)
    return s, called


def with_dead_features(x):
    x = x.clone()
    x[:, [3, 17]] = 0
    return x


def _factors_are_positive_and_finite(student, rng):
    """Every factor is positive and finite, also that of a feature that is always 0."""
    w, x = some_layer("small weights", 48, 160, rng)
    factors(student, w, x, "x (256, 160)")
    factors(student, w, with_dead_features(x), "two features of x always 0")
    factors(student, w, torch.zeros(32, 160), "x all 0")


def _x_may_have_any_leading_shape(student, rng):
    """Tokens may come in any leading shape."""
    w, x = some_layer("small weights", 48, 160, rng)
    for shape in ((256, 160), (4, 64, 160)):
        s, called = factors(student, w, x.view(shape), f"x {shape}")
        of_best_quality(w, x, s, called, SEARCH)


def never_worse(student, w, x, what):
    """The factors of w and x are no worse than s = 1."""
    s, called = factors(student, w, x, what)
    x = x.view(-1, 160)
    error, usual = output_error(w, x, scaled_round_trip(w, s, 4, None)), to_nearest_error(w, x, 4, None)
    least = output_error(w, x, 0) * oracle.HALF_ROUNDING**2  # scales are float16: below, all candidates are alike
    most = usual * oracle.AWQ_NEAREST + least
    if not error <= most:
        got = f"a mean square error of the output of {error:.4g}"
        fail(called, got, f"at most {most:.4g}, as with all factors 1", SEARCH)


def _one_token_is_enough(student, rng):
    """One token is a calibration set, too."""
    w, x = some_layer("small weights", 48, 160, rng)
    never_worse(student, w, x[0], "x (160,), one token")
    never_worse(student, w, x[:1], "x (1, 160), a batch of one token")
    never_worse(student, w[:1], x, "w (1, 160)")


def _rows_of_equal_weights(student, rng):
    """Rows whose weights are all equal, or all 0, do no harm."""
    w, x = some_layer("equal weights", 48, 160, rng)
    for value in (0.02, -0.02):
        never_worse(student, torch.full((48, 160), value), x, f"all weights {value}")
    w[3], w[5], w[7, :32] = 0, 0.02, -0.01
    never_worse(student, w, x, "one row of zeros, one of equal weights")


def of_best_quality(w, x, s, called, think):
    """s, once it is a factor for each column and its error hardly larger than that of the suite's search."""
    check_factors(check_tensor(s, called, (160,), torch.float32), called)
    error = output_error(w, x, scaled_round_trip(w, s, 4, None))
    errors = to_nearest_error(w, x, 4, None), best_error(w, x, 4, None)
    check_error(error, *errors, called, think, inverted(s, x))


def _factors_of_every_precision(student, rng):
    """w and x may come in any precision."""
    for dtype in (torch.float16, torch.float64):
        w, x = (tensor.to(dtype) for tensor in some_layer("small weights", 48, 160, rng))
        name = str(dtype).removeprefix("torch.")
        s, called = factors(student, w, x, f"w and x {name}")
        of_best_quality(w.float(), x.float(), s, called, oracle.PRECISION)


def _factors_of_values_alone(student, rng):
    """The factors depend on the values of w and x alone."""
    w, x = some_layer("small weights", 48, 160, rng)
    for (what, other_w), other_x in zip(layouts(w).items(), layouts(x).values(), strict=True):
        called = f"awq_scales(w, x, 4, None), w and x {what}"
        of_best_quality(w, x, student.awq_scales(other_w, other_x, 4, None), called, ORDER)
    calls = [(w, x, 4, None), (*some_layer("small weights", 48, 160, rng), 4, None)]
    check_function(
        student,
        "awq_scales",
        calls,
        lambda s, arguments, called, think: of_best_quality(*arguments[:2], s, called, think),
        "awq_scales(w, x, 4, None)",
    )


def _features_that_are_0_do_no_harm(student, rng):
    """Features that are always 0 do no harm to the factors of all others."""
    w, x = some_layer("small weights", 48, 160, rng)
    x = with_dead_features(x)
    s, called = factors(student, w, x, "two features of x always 0")
    error, usual = output_error(w, x, scaled_round_trip(w, s, 4, None)), to_nearest_error(w, x, 4, None)
    best = best_error(w, x, 4, None)
    check_error(error, usual, max(best, (best + usual) / 2 / oracle.AWQ_SLACK), called)


@pytest.mark.points(1)
@laws(
    _factors_are_positive_and_finite,
    _x_may_have_any_leading_shape,
    _features_that_are_0_do_no_harm,
    _one_token_is_enough,
    _rows_of_equal_weights,
    _factors_of_every_precision,
    _factors_of_values_alone,
)
def test_every_column_gets_a_factor(student, rng, law):
    """Every column gets a positive factor, whatever x is."""
    law(student, rng)


@pytest.mark.points(2)
@WIDTH
@KIND
def test_the_search_finds_the_least_output_error(student, rng, kind, bits, size):
    """The search finds the factors with the least error of the output."""
    where = TOGETHER if kind == TOGETHER else f"{kind} where activations are large"
    where, unit = (f"{where}, all of x small", SMALL) if bits == 3 else (where, 1)
    called = f"awq_scales(w, x, {bits}, {size}), {where}"
    found = []
    for _ in range(3):
        w, x = some_layer(kind, 48, 160, rng)
        x = x * unit
        s = check_tensor(student.awq_scales(w, x, bits, size), called, (160,), torch.float32)
        check_factors(s, called)
        error = output_error(w, x, scaled_round_trip(w, s, bits, size))
        found.append((error, to_nearest_error(w, x, bits, size), best_error(w, x, bits, size)))
    errors = (sum(errors) / 3 for errors in zip(*found, strict=True))
    check_error(*errors, called, SUMS if kind == TOGETHER else SEARCH, inverted(s, x))


def inverted(s, x):
    """Whether s is a power of the magnitude of x below 0: small where activations are large."""
    pair = torch.stack([s.double(), x.double().abs().mean(dim=0)]).log()
    return pair.isfinite().all() and pair[0].std() > 1e-3 and torch.corrcoef(pair)[0, 1] < -0.9999


def check_error(error, usual, best, called, think=SEARCH, backwards=False):
    """It is hardly larger than the suite's own, and never larger than that of rounding to nearest.

    backwards: whether the factors are known to be inverted
    """
    got = f"a mean square error of the output of {error:.4g}"
    most = min(usual * oracle.AWQ_NEAREST, best * oracle.AWQ_SLACK)
    expected = f"at most {most:.4g} (round to nearest: {usual:.4g}, best power of magnitude: {best:.4g})"
    think = AS_NEAREST if abs(error / usual - 1) < oracle.EQUAL_ERROR else think
    if backwards:
        got, think = f"factors that are smallest where activations are largest, and {got}", INVERTED
    if not error <= most:
        fail(called, got, expected, think)


def check_direction(student, linear, x, weight, bits, size):
    """What an error of a layer's weight comes from: factors that are all alike, or used the wrong way round."""
    called = f"awq_scales(w, x, {bits}, {size})"
    s = student.awq_scales(linear.weight.detach(), x, bits, size)
    check_factors(check_tensor(s, called, (linear.in_features,), torch.float32), called)
    if s.max() < s.min() * (1 + oracle.EQUAL_ERROR):
        fail(called, "the same factor for every column", "larger factors where activations are large", AS_NEAREST)
    allowed = 2**bits - 1
    right, wrong = values_in_a_group(weight * s.double(), size), values_in_a_group(weight / s.double(), size)
    if wrong <= allowed < right:
        got, expected = "a weight round(W / s) s: factors the wrong way round", "a weight round(W s) / s"
        fail(f"awq_linear(linear, x, {bits}, {size})", got, expected, INVERTED)


def values_in_a_group(weight, size):
    """How many values the group with the most of them has."""
    group = oracle.group_of(weight.shape[1], size)
    parts = [row[group == g] for row in weight for g in range(int(group[-1]) + 1)]
    return max(1 + int((p.sort().values.diff() > oracle.SAME_VALUE * p.abs().max()).sum()) for p in parts)


def check_rounded(error, usual, bits, called):
    """It is not so small that nothing can have been rounded."""
    if not error >= usual * oracle.ROUNDED_AT_ALL:
        expected = f"at least {usual * oracle.ROUNDED_AT_ALL:.4g}: rounding to {bits} bits must leave some error"
        fail(called, f"a mean square error of the output of {error:.4g}", expected, "Is the weight rounded at all?")


BIAS = pytest.mark.parametrize("bias", [True, False], ids=["bias", "no bias"])


def calibrated(student, rng, bias, bits, size):
    """A Linear, x (256, 160), the layer that awq_linear makes of them, and what was called."""
    w, x = some_layer("equal weights", 48, 160, rng)
    linear = nn.Linear(160, 48, bias=bias)
    linear.weight.data = w
    if bias:
        linear.bias.data = torch.randn(48, generator=rng)
    tokens, called = x.view(2, 128, 160), f"awq_linear(linear, x, {bits}, {size})"
    layer = check_module(student.awq_linear(linear, tokens, bits, size), called)
    check_unchanged(tokens, student.view(tokens), called)
    check_unchanged(w, student.view(linear).weight.detach(), called)
    return linear, x, layer, called


@pytest.mark.points(1)
@WIDTH
@BIAS
def test_a_layer_has_the_scaled_and_rounded_weight(student, rng, bias, bits, size):
    """A layer's weight is round(W s) / s, with the s of the search."""
    linear, x, layer, called = calibrated(student, rng, bias, bits, size)
    w, weight = linear.weight.detach(), effective_weight(layer, linear, called)
    error, usual, best = output_error(w, x, weight), to_nearest_error(w, x, bits, size), best_error(w, x, bits, size)
    if not error <= best * oracle.AWQ_SLACK:
        check_direction(student, linear, x.view(2, 128, 160), weight, bits, size)
    check_error(error, usual, best, called, LAYER)
    check_rounded(error, usual, bits, called)


def expected_of(layer, linear, called):
    """For check_layer: what the layer has to say of an x, by the weight that it was seen to have."""
    weight = effective_weight(layer, linear, called)
    bias = torch.zeros(len(weight)).double() if linear.bias is None else linear.bias.detach().double()

    def expected(x):
        size = x.double().abs() @ weight.abs().t() + bias.abs()
        return x.double() @ weight.t() + bias, size * oracle.ONE_WEIGHT

    return expected


def _one_weight_for_every_x(student, rng):
    """A layer multiplies every x by the same weight, and adds the bias."""
    for bias, bits, size in ((True, 4, None), (False, 3, None), (True, 4, 32), (False, 4, 32)):
        linear, x, layer, called = calibrated(student, rng, bias, bits, size)
        expected = expected_of(layer, linear, called)
        y = check_tensor(layer(x.view(2, 128, 160)), f"{called}(x)", (2, 128, 48), torch.float32)
        think = "Is every x divided by the factors that its weights were multiplied by, and the bias left alone?"
        where = f"{called}(x), x (2, 128, 160)"
        oracle.check_close(y.view(256, 48), *expected(x), where, "by the weight that other x show", think)


def _outputs_of_values_alone(student, rng):
    """What a layer says of an x depends on the values of x alone."""
    linear, x, layer, called = calibrated(student, rng, True, 4, 32)
    x = x[:6].reshape(2, 3, 160)
    layer(x)
    check_unchanged(x, student.view(x), f"{called}(x)")
    check_layer(student, layer, x, expected_of(layer, linear, called), called)


def _a_layer_of_its_own_for_each_linear(student, rng):
    """Each Linear and each x gets a layer of its own."""
    calls, called = [], "awq_linear(linear, x, 4, None)"
    for _ in range(2):
        w, x = some_layer("equal weights", 48, 160, rng)
        linear = nn.Linear(160, 48, bias=False)
        linear.weight.data = w
        calls.append((linear, x, 4, None))
    for same in (False, True):
        layers = student.in_turn("awq_linear", *calls, same=same)
        for k, (layer, (linear, x, *_)) in enumerate(zip(layers, calls, strict=True)):
            how = "of the same objects, with other values" if same else "asked when both were made"
            where = f"{called}, layer {k + 1} of 2, {how}"
            w, weight = linear.weight.detach(), effective_weight(check_module(layer, where), linear, where)
            errors = to_nearest_error(w, x, 4, None), best_error(w, x, 4, None)
            check_error(output_error(w, x, weight), *errors, where, OBJECTS if same else OWN)


@pytest.mark.points(1)
@laws(_one_weight_for_every_x, _outputs_of_values_alone, _a_layer_of_its_own_for_each_linear)
def test_a_layer_has_one_weight_for_every_x(student, rng, law):
    """A layer has one weight for every x, and a bias."""
    law(student, rng)


@pytest.mark.points(1)
@WIDTH
@BIAS
def test_the_scaled_weight_has_few_values(student, rng, bias, bits, size):
    """A group of the layer's W s has no more values than there are codes."""
    linear, x, layer, called = calibrated(student, rng, bias, bits, size)
    weight = effective_weight(layer, linear, called)
    found = student.awq_scales(linear.weight.detach(), x.view(2, 128, 160), bits, size)
    s = check_tensor(found, f"awq_scales(w, x, {bits}, {size})", (160,), torch.float32)
    most, allowed = values_in_a_group(weight * s.double(), size), 2**bits - 1
    think = "Is W s rounded, and by the factors that awq_scales returns?"
    if not most <= allowed:
        check_direction(student, linear, x.view(2, 128, 160), weight, bits, size)
        fail(called, f"{most} values in a group of W s", f"at most {allowed}, for {bits} bits", think)


def effective_weight(layer, linear, called):
    """(N, K) float64: what the layer multiplies with, seen from outside."""
    k, n = linear.in_features, linear.out_features
    got = check_tensor(layer(1000 * torch.eye(k)), f"{called}(x)", (k, n), torch.float32).double()  # beside a bias
    return (got - (0 if linear.bias is None else linear.bias.detach().double())).t() / 1000


@pytest.mark.points(1)
def test_scaling_alone_changes_nothing(student, rng):
    """Scaling alone, almost without rounding, changes nothing."""
    w, x = some_layer("equal weights", 48, 160, rng)
    linear = nn.Linear(160, 48)
    linear.weight.data = w
    called = "awq_linear(linear, x, 7, 16)"
    layer = check_module(student.awq_linear(linear, x.view(2, 128, 160), 7, 16), called)
    other = x.flip(0) * 0.7 + 0.1  # not what it was calibrated on
    got = check_tensor(layer(other), f"{called}(x)", (256, 48), torch.float32)
    want = linear(other).double()
    error = ((got - want).norm() / want.norm()).item()
    think = "Is x divided by s once, and is W multiplied by s once, both along the columns of W?"
    if error == 0:
        got, expected = "the output of linear itself, to the last digit", "an output that rounding to 7 bits changes"
        fail(f"{called}(x)", got, expected, "Is the weight rounded at all?")
    if not error < oracle.SEVEN_BITS:
        expected = f"at most {percent(oracle.SEVEN_BITS)}: 7 bits hardly round"
        fail(f"{called}(x)", f"outputs off by {error:.3%}", expected, think)


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


def awq_gpt(student, gpt, inputs, bits, progress):
    """The GPT of a student's layers, once none of them is worse than rounding to nearest."""

    def make(name, linear):
        progress(f"gpt.{name}")
        x = inputs[name]
        called = f"awq_linear(gpt.{name}, x, {bits}, None)"
        layer = check_module(student.awq_linear(linear, x, bits, None), called)
        w, weight = linear.weight.detach(), effective_weight(layer, linear, called)
        gram = (x.t() @ x).double() / len(x)
        error, usual = (
            ((e @ gram) * e).sum().item() / len(w) for e in (weight - w, oracle.grouped_round_trip(w, bits, None) - w)
        )
        expected = f"at most {usual:.4g}, as by rounding to nearest"
        if not error <= usual * oracle.AWQ_NEAREST:
            check_direction(student, linear, x, weight, bits, None)
            got = f"a mean square error of the output of {error:.4g}"
            fail(called, got, expected, f"Is it by this x and in {bits} bits? {LAYER}")
        check_rounded(error, usual, bits, called)
        return Inserted(layer, linear, called)

    return with_layers(gpt, make)


@pytest.mark.points(1)
@pytest.mark.slow("awq_scales", "awq_linear")
@pytest.mark.timeout(300)
def test_four_bits_cost_the_gpt_a_third(student, request, measured, progress):
    """Four bits cost the GPT at most a third of what rounding to nearest costs."""
    _, gpt, inputs, text, before = _bed(student, request, 4)
    usual = drift(window_nats(to_nearest(gpt, 4), text), before)
    change = drift(window_nats(awq_gpt(student, gpt, inputs, 4, progress), text), before)
    measured |= {"drift int4, salient channels, to nearest": usual, "drift int4, salient channels, AWQ": change}
    called = "the GPT with salient channels, of awq_linear(linear, x, 4, None)"
    most = usual * oracle.AWQ_DRIFT
    expected = f"at most {most:+.2%}, a third of what rounding to nearest costs ({usual:+.2%})"
    if not change <= most:
        fail(called, f"a drift of {change:+.2%}", expected, SEARCH)


@pytest.mark.points(1)
@pytest.mark.slow("awq_scales", "awq_linear")
@pytest.mark.timeout(300)
def test_three_bits_come_nearer_to_the_gpt_without_salient_channels(student, request, measured, progress):
    """At three bits AWQ gets back most of what our own search gets back."""
    plain, gpt, inputs, text, before = _bed(student, request, 3)
    after = window_nats(awq_gpt(student, gpt, inputs, 3, progress), text)
    usual = window_nats(to_nearest(gpt, 3), text)
    ours = window_nats(with_weights(gpt, lambda name, w: best_weight(w, inputs[name], 3, None)), text)
    measured |= {
        "drift int3, salient channels, to nearest": drift(usual, before),
        "drift int3, salient channels, AWQ": drift(after, before),
        "drift int3, no salient channels, to nearest": drift(window_nats(to_nearest(plain, 3), text), before),
    }
    share = ((usual - after).mean() / (usual - ours).mean()).item()
    called = "the GPT with salient channels, of awq_linear(linear, x, 3, None)"
    found = f"drift: rounding to nearest {drift(usual, before):+.0%}, our search {drift(ours, before):+.0%}, "
    found += f"yours {drift(after, before):+.0%}, which is {share:.0%} of the way"
    if not share >= oracle.AWQ_SHARE:
        fail(called, found, f"{oracle.AWQ_SHARE:.0%} or more of the way: how far depends on the channels drawn", SEARCH)
