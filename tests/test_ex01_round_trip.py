"""ex01: the grid, its codes and the way back, against float64 and the bound s / 2."""

import math
from functools import partial

import pytest
import torch
from hypothesis import strategies as st

from tests import oracle
from tests.messages import (
    check_default,
    check_number,
    check_tensor,
    check_unchanged,
    check_value_errors,
    describe,
    fail,
    values,
)

WIDTHS = pytest.mark.parametrize("bits", [8, 7, 6, 5, 4, 3, 2], ids=lambda bits: f"int{bits}")


@pytest.fixture
def weights(rng):
    """Trained weights look like this: a bell, and here the largest of them is negative."""
    w = torch.randn(64, 48, generator=rng) * 0.02
    w[7, 5] = -0.11
    return w


@pytest.mark.points(1)
@WIDTHS
def test_the_largest_weight_lands_on_the_last_code(student, weights, bits):
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
    halves = torch.arange(-100.5, 101.0, 1.0)  # not up to the last code: the scale of these very numbers is another
    halves = torch.cat([halves, torch.randint(-101, 101, (20,), generator=rng) + 0.5])
    for exponent in (-7, 0, 3):  # powers of two divide exactly, so these really are ties
        step = 2.0**exponent
        for scale in (step, torch.tensor(step)):
            called = f"quantize(w, {scale}), w = n + 1/2 steps"
            got = check_tensor(student.quantize(halves * step, scale), called, halves.shape, torch.int8)
            want = torch.tensor([round(h) for h in halves.tolist()])
            wrong = (got.long() != want).nonzero().flatten()
            if len(wrong):
                fail(
                    called,
                    f"{halves[wrong[0]]} steps became code {int(got[wrong[0]])}",
                    f"code {int(want[wrong[0]])}: half-way goes to the even neighbour",
                    "Always rounding a half up (or away from zero) pushes the mean; what does torch.round do? (And do you "
                    "divide by the given scale?)",
                )


@pytest.mark.points(1)
@WIDTHS
def test_codes_stay_on_the_grid(student, rng, bits):
    last = oracle.qmax(bits)
    beyond = torch.tensor([128.0, 127.6, -128.0, 300.0, -300.0, last, -last, last + 0.6, -last - 0.6, 0.0, 1e6, -1e6])
    beyond = torch.cat([beyond, torch.randint(-300, 301, (20,), generator=rng)])  # whole: this is not about rounding
    called = f"quantize(w, 1.0, bits={bits}), w reaches beyond the grid"
    got = check_tensor(student.quantize(beyond, 1.0, bits=bits), called, beyond.shape, torch.int8)
    check_unchanged(beyond, student.view(beyond), called)
    think = (
        f"What does an int8 do with 128? Which codes does a symmetric grid of {bits} bits have? (And is it the given "
        "scale that you divide by?)"
    )
    oracle.check_codes(got, beyond, 1.0, bits, called, think)


@pytest.mark.points(1)
def test_codes_times_scale_is_the_way_back(student, rng):
    codes = (torch.randperm(255, generator=rng) - 127).to(torch.int8).view(5, 51)
    for scale in (0.0123, torch.tensor(3.7), torch.tensor(1e-32), 2):
        called = f"dequantize(q, {scale}), q has all codes from -127 to 127"
        got = check_tensor(student.dequantize(codes, scale), called, codes.shape, torch.float32)
        want = codes.double() * float(scale)
        think = "An int8 times a number can stay an int8: which dtype has the product?"
        oracle.check_close(got, want, want.abs() * 2**-22, called, "the code times the scale", think)


@pytest.mark.points(1)
@WIDTHS
def test_error_is_at_most_half_a_step(student, weights, for_all, bits):
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


@pytest.mark.points(1)
@pytest.mark.parametrize("bits", [8, 4, 2], ids=lambda bits: f"int{bits}")
def test_the_error_is_that_of_rounding(student, rng, measured, bits):
    # N4: on evenly spread weights rounding errs by s / sqrt(12) on average, whatever the width of the grid
    w = torch.rand(128, 128, generator=rng) * 2 - 1
    called = f"round_trip(w, bits={bits}), w uniform in [-1, 1]"
    rebuilt = check_tensor(student.round_trip(w.clone(), bits), called, w.shape, torch.float32)
    error = rebuilt.double() - w.double()
    got, step = error.square().mean().sqrt().item(), oracle.scale(w, bits)
    measured[f"relative rms error at {bits} bits"] = got / w.double().square().mean().sqrt().item()
    expected = f"{step / math.sqrt(12):.4g} within 8 %: s / sqrt(12), the spread of numbers between -s/2 and s/2"
    if not abs(got / (step / math.sqrt(12)) - 1) < 0.08:
        fail(called, f"a root-mean-square error of {got:.4g}", expected)
    middle = error.mean().item() / step
    if not abs(middle) < 0.03:
        fail(
            called,
            f"errors that are {middle:+.3f} steps on average",
            "0: the errors of rounding cancel",
            "Which way do your codes lean?",
        )
    oracle.check_on_grid(rebuilt, step, bits, called)  # noise of that size is no rounding


@pytest.mark.points(1)
@pytest.mark.parametrize("bits", [8, 3], ids=lambda bits: f"int{bits}")
def test_sign_size_and_repetition_change_nothing(student, weights, bits):
    step = torch.tensor(oracle.scale(weights, bits), dtype=torch.float32)
    codes = oracle.codes(weights, step.double(), bits)
    on_grid = (codes * step.double()).float()
    cases = {
        "w turned around in sign": (-weights, step),
        "w times 2**-80": (weights * 2.0**-80, step * 2.0**-80),
        "w times 2**100": (weights * 2.0**100, step * 2.0**100),
        "w that has been through a round trip already": (on_grid, step),
    }
    for what, (w, scale) in cases.items():
        called = f"quantize(w, scale, bits={bits}), {what}"
        got = check_tensor(student.quantize(w.clone(), scale, bits), called, w.shape, torch.int8)
        tiny = scale < 1e-20
        oracle.check_codes(got, w, scale, bits, called, oracle.ABSOLUTE if tiny else oracle.ROUNDING)
        called = f"round_trip(w, bits={bits}), {what}"
        got = check_tensor(student.round_trip(w.clone(), bits), called, w.shape, torch.float32)
        think = "Does the sign count, or the size, or something absolute such as + 1e-8?"
        oracle.check_bound(got, w, oracle.scale(w, bits), called, think)


@pytest.mark.points(1)
def test_any_tensor_of_finite_numbers_will_do(student, weights, rng):
    tiny = weights / weights.abs().max() * 1e-30
    cases = {
        "the tiniest weights, max|w| = 1e-30": tiny,
        "huge weights, max|w| = 1e37": tiny * 1e37 * 1e30,
        "float16": weights.half(),
        "bfloat16": (weights * 300).bfloat16(),
        "float64": weights.double() * math.pi,
        "a transposed view": weights.t(),
        "every second column": weights[:, ::2],
        "one weight, shape ()": torch.tensor(-0.3),
        "one weight, shape (1, 1, 1)": torch.tensor([[[2.5]]]),
        "4-D": weights.view(4, 16, 6, 8),
        "all weights equal": torch.full((3, 5), -1.7),
        "many huge weights, whose sum is infinite": torch.full((32, 32), 1e37),
    }
    for what, w in cases.items():
        for bits in (8, 2):
            step = oracle.scale(w, bits)
            called = f"symmetric_scale(w, bits={bits}), {what}"
            got = check_number(student.symmetric_scale(w, bits), called)
            check_unchanged(w, student.view(w), called)
            think = oracle.what_of_scale(w, got, step, "Does the sign count? Every part of w?")
            if not oracle.same_scales(torch.tensor(got).double(), step):
                fail(called, got, step, think)
            called = f"quantize(w, scale, bits={bits}), {what}"
            step32 = torch.tensor(step, dtype=torch.float32)
            codes = check_tensor(student.quantize(w, step32, bits), called, w.shape, torch.int8)
            check_unchanged(w, student.view(w), called)
            think = oracle.PRECISION if w.dtype != torch.float32 else oracle.ROUNDING
            oracle.check_codes(codes, w, step32, bits, called, think)
            called = f"round_trip(w, bits={bits}), {what}"
            got = check_tensor(student.round_trip(w, bits), called, w.shape, torch.float32)
            check_unchanged(w, student.view(w), called)
            oracle.check_bound(got, w, step, called)
    for zeros in (torch.zeros(6, 4), torch.zeros(()), torch.zeros(3, 5, dtype=torch.float16)):
        called = f"round_trip(w), w {describe(zeros)}"
        got = check_tensor(student.round_trip(zeros), called, zeros.shape, torch.float32)
        if got.any():
            fail(called, describe(got), "zeros", "What is 0 / 0?")
        called = f"symmetric_scale(w), w {describe(zeros)}"
        got = check_number(student.symmetric_scale(zeros), called)
        if not (0 < got < math.inf):
            fail(called, got, "any positive finite number")


@pytest.mark.points(1)
def test_what_cannot_be_quantized_is_a_value_error(student, weights):
    bad = [(torch.zeros(0), 8, "w is empty"), (torch.zeros(4, 0), 8, "w is empty, shape (4, 0)")]
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
