"""ex01: the grid, its codes and the way back, against float64 and the bound s / 2."""

import math
from functools import partial

import pytest
import torch
from hypothesis import strategies as st

from tests import oracle
from tests.laws import laws
from tests.messages import (
    check_default,
    check_number,
    check_tensor,
    check_unchanged,
    check_value_errors,
    describe,
    fail,
    percent,
    values,
)
from tests.values_alone import ORDER, check_function, layouts

EVERY_WIDTH = [8, 7, 6, 5, 4, 3, 2]
WIDTHS = pytest.mark.parametrize("bits", EVERY_WIDTH, ids=lambda bits: f"int{bits}")


@pytest.fixture
def weights(rng):
    """Trained weights look like this: a bell, and here the largest of them is negative."""
    w = torch.randn(64, 48, generator=rng) * 0.02
    w[7, 5] = -0.11
    return w


@pytest.mark.points(1)
@WIDTHS
def test_the_largest_weight_lands_on_the_last_code(student, weights, bits):
    """The largest weight lands on the last code."""
    called = f"symmetric_scale(w, bits={bits}), max|w| = {weights.abs().max():.4g}"
    result = student.symmetric_scale(weights.clone(), bits=bits)
    got, want = check_number(result, called), oracle.scale(weights, bits)
    if isinstance(result, torch.Tensor):
        check_tensor(result, called, (), torch.float32)
    think = "Which weight is largest when the sign does not count, and how many codes lie above zero?"
    if not oracle.same_scales(torch.tensor(got).double(), want):
        fail(called, got, want, think)
    same = student.symmetric_scale(weights.clone()) == student.symmetric_scale(weights, 8)
    check_default(same, "symmetric_scale(w)", "bits=8")


@pytest.mark.points(1)
@WIDTHS
def test_every_weight_gets_the_nearest_code(student, weights, for_all, bits):
    """Every weight gets the nearest code."""

    def law(quarters, exponent):
        step = 2.0**exponent
        w = torch.tensor(quarters) / 4 * step
        called = f"quantize(w, {step:g}, bits={bits}), w = {values(w)}"
        got = check_tensor(student.quantize(w.clone(), step, bits), called, w.shape, torch.int8)
        oracle.check_codes(got, w, step, bits, called, oracle.ROUNDING)

    step = torch.tensor(oracle.scale(weights, bits), dtype=torch.float32)
    got = student.quantize(weights.clone(), step, bits)
    limit = 4 * oracle.qmax(bits)
    some = st.lists(st.integers(-limit, limit), min_size=1, max_size=4)
    for_all(law, quarters=some, exponent=st.sampled_from([0, 1, -7]))
    called = f"quantize(w, scale, bits={bits}), w {describe(weights)}"
    check_tensor(got, called, weights.shape, torch.int8)
    oracle.check_codes(got, weights, step, bits, called, oracle.ROUNDING)


@pytest.mark.points(1)
def test_ties_go_to_the_even_code(student, rng):
    """Half-way cases go to the even code."""
    halves = torch.arange(-100.5, 101.0, 1.0)  # not up to the last code: the scale of these very numbers is another
    halves = torch.cat([halves, torch.randint(-101, 101, (20,), generator=rng) + 0.5])
    for exponent in (-7, 0, 3):  # powers of two divide exactly, so these really are ties
        step = 2.0**exponent
        for scale in (step, torch.tensor(step), *[int(step)] * (step >= 1)):
            called = f"quantize(w, {scale}), w = n + 1/2 steps"
            got = check_tensor(student.quantize(halves * step, scale), called, halves.shape, torch.int8)
            want = torch.tensor([round(h) for h in halves.tolist()])
            wrong = (got.long() != want).nonzero().flatten()
            if len(wrong):
                fail(
                    called,
                    f"{halves[wrong[0]]} steps became code {int(got[wrong[0]])}",
                    f"code {int(want[wrong[0]])}: half-way goes to the even neighbour",
                    "Rounding every half up, or away from zero, shifts the mean. What does torch.round do? (And do you "
                    "divide by the given scale?)",
                )


def beyond_the_grid(bits):
    """Weights that reach beyond the last code when the scale is 1."""
    last = oracle.qmax(bits)
    return torch.tensor([128.0, 127.6, -128.0, 300.0, -300.0, last, -last, last + 0.6, -last - 0.6, 0.0, 1e6, -1e6])


@pytest.mark.points(1)
@WIDTHS
def test_codes_stay_on_the_grid(student, rng, bits):
    """Codes stay on the grid."""
    whole = torch.randint(-300, 301, (20,), generator=rng)  # this is not about rounding
    w = torch.cat([beyond_the_grid(bits), whole])
    called = f"quantize(w, 1.0, bits={bits}), w reaches beyond the grid"
    got = check_tensor(student.quantize(w, 1.0, bits=bits), called, w.shape, torch.int8)
    think = (
        f"What does an int8 do with 128? Which codes does a symmetric grid of {bits} bits have? (And do you divide by "
        "the given scale?)"
    )
    oracle.check_codes(got, w, 1.0, bits, called, think)


@pytest.mark.points(1)
def test_codes_times_scale_is_the_way_back(student, rng):
    """The way back is the code times the scale."""
    codes = (torch.randperm(255, generator=rng) - 127).to(torch.int8).view(5, 51)
    for scale in (0.0123, torch.tensor(3.7), torch.tensor(1e-32), 2):
        called = f"dequantize(q, {scale}), q has all codes from -127 to 127"
        got = check_tensor(student.dequantize(codes, scale), called, codes.shape, torch.float32)
        want = codes.double() * float(scale)
        think = "An int8 tensor times a number can stay int8. Which dtype does your product have?"
        oracle.check_close(got, want, want.abs() * oracle.CODE_TIMES_SCALE, called, "the code times the scale", think)


@pytest.mark.points(1)
@WIDTHS
def test_error_is_at_most_half_a_step(student, weights, for_all, bits):
    """Every weight comes back at most half a step away."""
    think = "Do quantize and dequantize use the same scale, and the same bits?"

    def law(halves):
        w = torch.tensor(halves) / 2
        called = f"round_trip(w, bits={bits}), w = {values(w)}"
        got = check_tensor(student.round_trip(w.clone(), bits=bits), called, w.shape, torch.float32)
        oracle.check_bound(got, w, oracle.scale(w, bits), called, think)

    got = student.round_trip(weights.clone(), bits=bits)
    for_all(law, halves=st.lists(st.integers(-40, 40), min_size=1, max_size=4))
    called = f"round_trip(w, bits={bits}), w {describe(weights)}"
    check_tensor(got, called, weights.shape, torch.float32)
    oracle.check_bound(got, weights, oracle.scale(weights, bits), called, think)
    oracle.check_on_grid(got, oracle.scale(weights, bits), bits, called)
    by_default = student.round_trip(weights.clone())
    check_default(torch.equal(by_default, student.round_trip(weights, 8)), "round_trip(w)", "bits=8")


def _errors_have_the_size_of_rounding(student, rng, measured):
    """The root mean square of the errors is s / sqrt(12)."""
    # N4: on evenly spread weights rounding errs by s / sqrt(12) on average, whatever the width of the grid
    for bits in (8, 4, 2):
        w, error, called = _errors_of_even_weights(student, rng, bits)
        step, got = oracle.scale(w, bits), error.square().mean().sqrt().item()
        measured[f"relative rms error at {bits} bits"] = got / w.double().square().mean().sqrt().item()
        allowed = percent(oracle.RMS_OF_ROUNDING)
        expected = f"{step / math.sqrt(12):.4g} within {allowed}: s / sqrt(12), the spread of numbers from -s/2 to s/2"
        if not abs(got / (step / math.sqrt(12)) - 1) < oracle.RMS_OF_ROUNDING:
            fail(called, f"a root-mean-square error of {got:.4g}", expected)


def _errors_cancel(student, rng, measured):
    """The errors are 0 on average."""
    for bits in (8, 4, 2):
        w, error, called = _errors_of_even_weights(student, rng, bits)
        middle = error.mean().item() / oracle.scale(w, bits)
        if not abs(middle) < oracle.MEAN_OF_ROUNDING:
            fail(
                called,
                f"errors that are {middle:+.3f} steps on average",
                f"0 within {oracle.MEAN_OF_ROUNDING}: the errors of rounding cancel",
                "In which direction does your rounding err more often?",
            )


def _errors_of_even_weights(student, rng, bits):
    """Evenly spread weights, what round_trip makes of them minus themselves, and which call it was."""
    w = torch.rand(128, 128, generator=rng) * 2 - 1
    called = f"round_trip(w, bits={bits}), w uniform in [-1, 1]"
    rebuilt = check_tensor(student.round_trip(w.clone(), bits), called, w.shape, torch.float32)
    oracle.check_on_grid(rebuilt, oracle.scale(w, bits), bits, called)  # noise of that size is not rounding
    return w, rebuilt.double() - w.double(), called


@pytest.mark.points(1)
@laws(_errors_have_the_size_of_rounding, _errors_cancel)
def test_the_error_is_that_of_rounding(student, rng, measured, law):
    """The error is that of rounding."""
    law(student, rng, measured)


def _sign_changes_nothing(student, weights):
    """Opposite weights have opposite codes."""
    for bits in (8, 3):
        think = "Does the largest weight count with its sign?"
        _check_codes_and_bound(student, -weights, _float32_scale(weights, bits), bits, "every sign turned", think)


def _size_changes_nothing(student, weights):
    """Weights times a power of two have the same codes."""
    for bits in (8, 3):
        step = _float32_scale(weights, bits)
        for exponent in (-80, 100):
            what = f"w times 2**{exponent}"
            w, scale = weights * 2.0**exponent, step * 2.0**exponent
            _check_codes_and_bound(student, w, scale, bits, what, oracle.ABSOLUTE)


def _repetition_changes_nothing(student, weights):
    """A second round trip changes nothing."""
    for bits in (8, 3):
        step = _float32_scale(weights, bits)
        on_grid = (oracle.codes(weights, step.double(), bits) * step.double()).float()
        think = "Do weights that lie on the grid keep their scale, and is each of them its own nearest grid value?"
        _check_codes_and_bound(student, on_grid, step, bits, "w that has been through a round trip already", think)


def _float32_scale(w, bits):
    return torch.tensor(oracle.scale(w, bits), dtype=torch.float32)


def _check_codes_and_bound(student, w, scale, bits, what, think):
    called = f"quantize(w, scale, bits={bits}), {what}"
    got = check_tensor(student.quantize(w.clone(), scale, bits), called, w.shape, torch.int8)
    oracle.check_codes(got, w, scale, bits, called, oracle.ABSOLUTE if scale < oracle.TINY else oracle.ROUNDING)
    called = f"round_trip(w, bits={bits}), {what}"
    got = check_tensor(student.round_trip(w.clone(), bits), called, w.shape, torch.float32)
    oracle.check_bound(got, w, oracle.scale(w, bits), called, think)


@pytest.mark.points(1)
@laws(_sign_changes_nothing, _size_changes_nothing, _repetition_changes_nothing)
def test_sign_size_and_repetition_change_nothing(student, weights, law):
    """Sign, size and repetition change nothing."""
    law(student, weights)


def sizes(weights):
    tiny = weights / weights.abs().max() * 1e-30
    return {
        "the tiniest weights, max|w| = 1e-30": tiny,
        "huge weights, max|w| = 1e37": tiny * 1e37 * 1e30,
        "many huge weights, whose sum is infinite": torch.full((32, 32), 1e37),
        "all weights equal, negative": torch.full((3, 5), -1.7),
        "all weights equal, positive": torch.full((3, 5), 0.3),
    }


def dtypes(weights):
    return {
        "float16": weights.half(),
        "bfloat16": (weights * 300).bfloat16(),
        "float64": weights.double() * math.pi,
    }


def shapes(weights):
    return {
        "a transposed view": weights.t(),
        "every second column": weights[:, ::2],
        "one weight, shape ()": torch.tensor(-0.3),
        "one weight, shape (1, 1, 1)": torch.tensor([[[2.5]]]),
        "4-D": weights.view(4, 16, 6, 8),
        "3-D, transposed in memory": layouts(weights.view(4, 16, 48))["transposed in memory"],
    }


def _any_size(student, weights):
    """Weights may be tiny or huge."""
    _check_scale_codes_and_bound(student, sizes(weights))


def _any_dtype(student, weights):
    """Weights may have any float dtype."""
    _check_scale_codes_and_bound(student, dtypes(weights))


def _any_shape(student, weights):
    """Weights may have any shape and any order in memory."""
    _check_scale_codes_and_bound(student, shapes(weights))
    codes = torch.arange(-60, 60).to(torch.int8).view(4, 5, 6)
    for what, q in layouts(codes).items():
        called = f"dequantize(q, 0.5), q (4, 5, 6), {what}"
        got = check_tensor(student.dequantize(q, 0.5), called, q.shape, torch.float32)
        oracle.check_close(got, codes / 2, torch.zeros(()), called, "the code times the scale", ORDER)


def _only_values_count(student, weights):
    """Answers depend on values alone."""
    parts = weights[:6, :5].clone(), weights[6:12, 5:10] * 8, weights[12:18, 10:15] / 8  # then larger, then smaller

    def check_scale(got, arguments, called, think):
        step = oracle.scale(*arguments)
        if not oracle.same_scales(torch.tensor(check_number(got, called)).double(), step):
            fail(called, check_number(got, called), step, think)

    def check_codes(got, arguments, called, think):
        w, step, bits = arguments
        oracle.check_codes(check_tensor(got, called, w.shape, torch.int8), w, step, bits, called, think)

    def check_way_back(got, arguments, called, think):
        q, step = arguments
        want = q.double() * step.double()
        check_tensor(got, called, q.shape, torch.float32)
        oracle.check_close(got, want, want.abs() * oracle.CODE_TIMES_SCALE, called, "the code times the scale", think)

    def check_round_trip(got, arguments, called, think):
        w, bits = arguments
        check_tensor(got, called, w.shape, torch.float32)
        oracle.check_bound(got, w, oracle.scale(w, bits), called, think)

    of_4_bits = [(w, 4) for w in parts]
    with_scales = [(w, _float32_scale(w, 4), 4) for w in parts]
    way_back = [(oracle.codes(w, step, 4).to(torch.int8), step) for w, step, _ in with_scales]
    check_function(student, "symmetric_scale", of_4_bits, check_scale, "symmetric_scale(w, 4)")
    check_function(student, "quantize", with_scales, check_codes, "quantize(w, scale, 4)")
    check_function(student, "dequantize", way_back, check_way_back, "dequantize(q, scale)")
    check_function(student, "round_trip", of_4_bits, check_round_trip, "round_trip(w, 4)")


def _check_scale_codes_and_bound(student, cases):
    for what, w in cases.items():
        for bits in (8, 2):
            step = oracle.scale(w, bits)
            called = f"symmetric_scale(w, bits={bits}), {what}"
            got = check_number(student.symmetric_scale(w, bits), called)
            think = oracle.what_of_scale(w, got, step, "Does the sign count? Every part of w?")
            if not oracle.same_scales(torch.tensor(got).double(), step):
                fail(called, got, step, think)
            called = f"quantize(w, scale, bits={bits}), {what}"
            step32 = torch.tensor(step, dtype=torch.float32)
            codes = check_tensor(student.quantize(w, step32, bits), called, w.shape, torch.int8)
            think = oracle.PRECISION if w.dtype != torch.float32 else oracle.ROUNDING
            oracle.check_codes(codes, w, step32, bits, called, think)
            called = f"round_trip(w, bits={bits}), {what}"
            got = check_tensor(student.round_trip(w, bits), called, w.shape, torch.float32)
            oracle.check_bound(got, w, step, called)


def _zeros(student, weights):
    """Zeros have a positive scale and come back as zeros."""
    for zeros in (torch.zeros(6, 4), torch.zeros(()), torch.zeros(3, 5, dtype=torch.float16)):
        called = f"round_trip(w), w {describe(zeros)}"
        got = check_tensor(student.round_trip(zeros), called, zeros.shape, torch.float32)
        if got.any():
            fail(called, describe(got), "zeros", "What is 0 / 0?")
        called = f"symmetric_scale(w), w {describe(zeros)}"
        got = check_number(student.symmetric_scale(zeros), called)
        if not (0 < got < math.inf):
            fail(called, got, "any positive finite number")


def _w_stays_as_it_was(student, weights):
    """Your functions leave w as it was."""
    for bits in EVERY_WIDTH:
        w = beyond_the_grid(bits)
        student.quantize(w, 1.0, bits=bits)
        check_unchanged(w, student.view(w), f"quantize(w, 1.0, bits={bits}), w reaches beyond the grid")
    for what, w in (sizes(weights) | dtypes(weights) | shapes(weights)).items():
        for bits in (8, 2):
            student.symmetric_scale(w, bits)
            check_unchanged(w, student.view(w), f"symmetric_scale(w, bits={bits}), {what}")
            student.quantize(w, _float32_scale(w, bits), bits)
            check_unchanged(w, student.view(w), f"quantize(w, scale, bits={bits}), {what}")
            student.round_trip(w, bits)
            check_unchanged(w, student.view(w), f"round_trip(w, bits={bits}), {what}")


@pytest.mark.points(1)
@laws(_any_size, _any_dtype, _any_shape, _zeros, _w_stays_as_it_was, _only_values_count)
def test_any_tensor_of_finite_numbers_will_do(student, weights, law):
    """Any tensor of finite numbers is quantized."""
    law(student, weights)


@pytest.mark.points(1)
def test_what_cannot_be_quantized_is_a_value_error(student, weights):
    """What cannot be quantized is a ValueError."""
    shapes = (0,), (4, 0), (0, 4), (2, 0, 3)
    bad = [(torch.zeros(shape), 8, f"w is empty, shape {shape}") for shape in shapes]
    for name, value in (("NaN", math.nan), ("infinity", math.inf), ("-infinity", -math.inf)):
        w = weights.clone()
        w[3, 4] = value
        bad.append((w, 8, f"w holds {name}"))
    bad += [(weights, bits, f"bits={bits}, which is not 2 to 8") for bits in (-8, 0, 1, 9, 10, 12, 16)]
    calls = {}
    for w, bits, why in bad:
        calls[f"symmetric_scale(w, bits), {why}"] = partial(student.symmetric_scale, w, bits)
        calls[f"quantize(w, 0.1, bits), {why}"] = partial(student.quantize, w, 0.1, bits)
        calls[f"round_trip(w, bits), {why}"] = partial(student.round_trip, w, bits)
    good, what = {}, f"w {describe(weights)}"
    for bits in (8, 2):
        good[f"symmetric_scale(w, bits={bits}), {what}"] = partial(student.symmetric_scale, weights, bits)
        good[f"quantize(w, 0.1, bits={bits}), {what}"] = partial(student.quantize, weights, 0.1, bits)
        good[f"round_trip(w, bits={bits}), {what}"] = partial(student.round_trip, weights, bits)
    check_value_errors(calls, good)
