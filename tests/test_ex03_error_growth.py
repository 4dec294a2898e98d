"""ex03: the error of a matrix-vector product, measured and in theory."""

import math
from functools import partial

import pytest
import torch

from tests import oracle
from tests.laws import laws
from tests.messages import check_default, check_number, check_unchanged, check_value_errors, describe, fail, percent
from tests.values_alone import ORDER, check_function, layouts

SIZES = [2**k for k in range(6, 15)]  # 64 to 16,384 terms
BITS = "Do the bits reach the function that rounds w?"
MEAN_SQUARE = "Is x left as it is, is there one scale for all of w, and is it a root of a mean of squares?"
SQUARES = "Which numbers do you square or multiply on the way? A float32 holds numbers from 1e-45 to 3.4e38, and zero."
DIGITS = "A float32 has about 7 digits. How many of them are left in the difference of two large, nearly equal numbers?"


def exact_error(w, x, bits=8):
    """sqrt(mean(((w' - w) @ x)**2)) over the rows, in float64."""
    difference = (oracle.round_trip(w, bits) - oracle.exact(w)) @ oracle.exact(x)
    return difference.square().mean().sqrt().item()


def drawn(rows, n, bits, rng):
    """w without a weight near a tie, x, and their output error."""
    want = 0.0
    while want < 0.1 * 0.013 / 12**0.5 * n**0.5:  # where errors happen to cancel, float32 has no digits left
        # the largest weight of all decides the scale, not the largest of each row, half as large at most
        w = oracle.away_from_ties((rows, n), 0.013, rng, bits)
        w[1:] = oracle.away_from_ties((rows - 1, n), 0.013, rng, bits - 1)
        x = torch.randn(n, generator=rng) * 2 + 1
        want = exact_error(w, x, bits)
    return w, x, want


SHAPES = [(1, 5), (40, 300), (300, 40)]


@pytest.mark.points(2)
@pytest.mark.parametrize("bits", [8, 5, 3], ids=lambda bits: f"int{bits}")
def test_the_error_is_the_root_mean_square_over_rows(student, rng, bits):
    """The output error is the root mean square over rows."""
    for rows, n in SHAPES:
        w, x, want = drawn(rows, n, bits, rng)
        called = f"output_error(w, x, bits={bits}), w ({rows}, {n})"
        got = check_number(student.output_error(w, x, bits), called)
        with_8 = exact_error(w, x)
        if not abs(got / want - 1) < oracle.OUTPUT_ERROR:
            fail(
                called,
                got,
                f"{want:.6g}: root mean square over the rows of (w' - w) @ x",
                BITS if bits != 8 and abs(got / with_8 - 1) < oracle.OUTPUT_ERROR else MEAN_SQUARE,
            )
    check_default(student.output_error(w, x) == student.output_error(w, x, 8), "output_error(w, x)", "bits=8")


@pytest.mark.points(1)
def test_half_precision_is_computed_in_float32(student, rng):
    """Half precision is computed in float32."""
    # these whole numbers are the same in every precision, and none of them times 127 / 255 lies near a tie
    w = torch.randint(-255, 256, (16, 64), generator=rng).float()
    w[:, 0] = 255
    x = torch.randn(64, generator=rng) + 1
    for what, weights, tokens in (
        ("w float16, x float16", w.half(), x.half()),
        ("w bfloat16, x float32", w.bfloat16(), x),
        ("w float32, x float16", w, x.half()),
        ("w float16, x float64 and larger than a float16 can be", w.half(), x.double() * 1e6),
        ("w float64, x bfloat16", w.double(), x.bfloat16()),
    ):
        _check_error(student, weights, tokens, 8, f"output_error(w, x), {what}", oracle.PRECISION)


def _numbers_of_any_size(student, rng):
    """Weights and inputs may be tiny or huge."""
    w, x = _away_from_ties_of_int4(rng).double() / 7, torch.randn(64, generator=rng).double()
    for size, size_of_x in ((1e-7, 1), (1e37, 1), (1e-30, 1), (1, 1e37), (1, 1e-30), (1e-30, 1e37), (1e37, 1e-30)):
        called = f"output_error(w, x, bits=4), max|w| = {size:g}, max|x| = {size_of_x:g}"
        _check_error(student, (w * size).float(), (x / x.abs().max() * size_of_x).float(), 4, called, SQUARES)


def _zeros_and_equal_weights(student, rng):
    """Weights that are all equal lie on the grid, zeros too."""
    x = torch.randn(64, generator=rng)
    for value in (0.0, 0.7, -0.7, 1e37, -1e-30):
        w, called = torch.full((16, 64), value), f"output_error(w, x), all weights {value:g}"
        got = check_number(student.output_error(w, x), called)
        allowed = abs(value) * x.double().abs().sum().item() * oracle.NO_ERROR
        if not abs(got) <= allowed:
            fail(called, got, f"0 within {allowed:.2g}: all weights are 0, or have the last code", oracle.ZEROS)


def _large_products_that_cancel(student, rng):
    """Large products that cancel hide no error."""
    w = oracle.away_from_ties((40, 300), 2**-9, rng)
    x = torch.randn(300, generator=rng)
    w[:, 150] = w[:, 0]
    x[0], x[150] = 1e6, -1e6
    called = "output_error(w, x), equal columns 0 and 150 of w, x[0] = 1e6, x[150] = -1e6"
    _check_error(student, w, x, 8, called, DIGITS)


@pytest.mark.points(1)
@laws(_numbers_of_any_size, _zeros_and_equal_weights, _large_products_that_cancel)
def test_weights_of_any_size_will_do(student, rng, law):
    """The error is within 1 % for numbers of any size."""
    law(student, rng)


def _away_from_ties_of_int4(rng):
    """(16, 64) float32 weights whose scale at 4 bits is 1."""
    codes = torch.randint(-7, 8, (16, 64), generator=rng) + 0.25 * torch.rand(16, 64, generator=rng).round()
    codes[:, 0] = 7
    return codes


def _check_error(student, w, x, bits, called, think):
    result = student.output_error(w, x) if bits == 8 else student.output_error(w, x, bits)
    _check_error_of(result, (w, x, bits), called, think)


def _check_error_of(result, arguments, called, think):
    got, want = check_number(result, called), exact_error(*arguments)
    if not abs(got / want - 1) < oracle.OUTPUT_ERROR:
        fail(called, got, f"{want:.6g}, within {percent(oracle.OUTPUT_ERROR)}", think)


def _same_size(got, want):
    return want / oracle.SAME_SIZE < got < want * oracle.SAME_SIZE


def _calls_in_turn(student, rng):
    """No answer depends on an earlier call."""
    steps = (0.02, 0.3, 0.001)  # larger, then smaller
    calls = [(oracle.away_from_ties((6, 40), step, rng), torch.randn(40, generator=rng), 8) for step in steps]
    check_function(student, "output_error", calls, _check_error_of, "output_error(w, x)")
    numbers = [(n, torch.tensor(step), torch.tensor(step + 1)) for n, step in zip((64, 64, 9), steps, strict=True)]
    for name, formula in FORMULAS.items():

        def check(got, arguments, called, think, formula=formula):
            want = formula(arguments[0], *map(float, arguments[1:]))
            if not math.isclose(number := check_number(got, called), want, rel_tol=oracle.FORMULA):
                fail(called, number, want, think)

        check_function(student, name, numbers, check, f"{name}(n, scale, ...)")


def _order_in_memory(student, rng):
    """No answer depends on the order in memory."""
    w, x, _ = drawn(6, 40, 8, rng)
    for what, weights in layouts(w).items():
        _check_error(student, weights, x, 8, f"output_error(w, x), w (6, 40), {what}", ORDER)
    for what, tokens in layouts(x).items():
        _check_error(student, w, tokens, 8, f"output_error(w, x), x (40,), {what}", ORDER)


@pytest.mark.points(1)
@laws(_calls_in_turn, _order_in_memory)
def test_answers_depend_on_values_alone(student, rng, law):
    """Answers depend on values alone."""
    law(student, rng)


@pytest.mark.points(1)
def test_w_and_x_stay_as_they_were(student, rng):
    """w and x stay as they were."""
    for bits in (8, 5, 3):
        for rows, n in SHAPES:
            w, x, want = drawn(rows, n, bits, rng)
            called = f"output_error(w, x, bits={bits}), w ({rows}, {n})"
            got = check_number(student.output_error(w, x, bits), called)
            check_unchanged(w, student.view(w), called)
            check_unchanged(x, student.view(x), called)
            if not _same_size(got, want):  # a function that computes nothing changes nothing, too
                fail(called, got, f"about {want:.3g}", MEAN_SQUARE)


FORMULAS = {
    "typical_error": lambda n, scale, x_rms: scale / math.sqrt(12) * math.sqrt(n) * x_rms,
    "worst_case_error": lambda n, scale, x_max: n * scale / 2 * x_max,
}


@pytest.mark.points(1)
def test_theory_is_the_formula_of_the_lesson(student, rng):
    """The typical error is the lesson's formula."""
    think = "Spread evenly over a step s, errors have standard deviation s / sqrt(12); how do n of them add up?"
    _check_formula(student, rng, "typical_error", think)


@pytest.mark.points(1)
def test_the_worst_case_adds_up_like_n(student, rng):
    """The worst case adds up like n."""
    think = "How far off is one weight at most, and what do n such errors add up to if all have the same sign?"
    _check_formula(student, rng, "worst_case_error", think)


def _check_formula(student, rng, name, think):
    cases = []
    for n in (1, 7, 4096, 10**6):
        scale, of_x = 0.01 + torch.rand((), generator=rng), 0.1 + 3 * torch.rand((), generator=rng)
        cases.append((n, scale, of_x, think))
    sizes = (1e-32, 1.5), (1e34, 0.5), (0.01, 1e-30), (0.01, 1e36)
    cases += [(64, torch.tensor(scale), torch.tensor(of_x), SQUARES) for scale, of_x in sizes]
    for n, scale, of_x, question in cases:
        want = FORMULAS[name](n, scale.item(), of_x.item())
        for what, given in {
            "both tensors": (scale, of_x),
            "both Python numbers": (scale.item(), of_x.item()),
            "a tensor and a Python number": (scale, of_x.item()),
            "a Python number and a tensor": (scale.item(), of_x),
        }.items():
            called = f"{name}({n}, {scale:.4g}, {of_x:.4g}), {what}"
            got = check_number(getattr(student, name)(n, *given), called)
            if not math.isclose(got, want, rel_tol=oracle.FORMULA):
                fail(called, got, want, question)


@pytest.mark.points(1)
@pytest.mark.parametrize("bits", [8, 4], ids=lambda bits: f"int{bits}")
def test_the_error_grows_like_the_square_root_of_n(student, rng, measured, bits):
    """The error grows like the square root of n."""
    # N6. x has mean 1, so that errors which mostly have one sign would add up like n
    errors, wants = [], []
    for n in SIZES:
        w = oracle.without_near_ties(torch.rand(256, n, generator=rng) * 2 - 1, bits)
        x = torch.randn(n, generator=rng) + 1
        wants.append(exact_error(w, x, bits))
        errors.append(check_number(student.output_error(w, x, bits), f"output_error(w, x, bits={bits}), w (256, {n})"))
    x, y = torch.tensor(SIZES).double().log2(), torch.tensor(errors).double().log2()
    slope = (((x - x.mean()) * (y - y.mean())).sum() / (x - x.mean()).square().sum()).item()
    if bits == 8:
        measured["slope of the error"] = slope
    if not abs(slope - 0.5) <= oracle.EXPONENT:
        too_steep = "Errors of both signs cancel. Do most of yours have one sign, or is x rounded, too?"
        too_flat = "Does every one of the n terms count, and is anything divided by n?"
        fail(
            f"output_error for n = {SIZES[0]} to {SIZES[-1]}, bits={bits}",
            f"growth like n ** {slope:.3f}",
            f"growth like n ** 0.50, within {oracle.EXPONENT}",
            too_steep if slope > 0.5 else too_flat,
        )
    for n, got, want in zip(SIZES, errors, wants, strict=True):  # any number of times the root of n has that slope
        called = f"output_error(w, x, bits={bits}), w (256, {n})"
        if not abs(got / want - 1) < oracle.OUTPUT_ERROR:
            fail(called, got, f"{want:.6g}, within {percent(oracle.OUTPUT_ERROR)}", MEAN_SQUARE)


@pytest.mark.points(1)
def test_bad_weights_are_a_value_error(student, rng):
    """Weights that cannot be quantized are a ValueError."""
    x = torch.ones(8)
    w = torch.randn(4, 8, generator=rng)
    holes = w.clone()
    holes[0, 0] = math.nan
    check_value_errors(
        {
            f"output_error(w, x, bits), {why}": partial(student.output_error, bad, x, bits)
            for bad, bits, why in (
                (holes, 8, "w holds NaN"),
                (torch.zeros(0, 8), 8, "w is empty, shape (0, 8)"),
                *[(w, bits, f"bits={bits}, which is not 2 to 8") for bits in (0, 1, 9, 16)],
            )
        }
        | {
            "output_error(w, x), w is empty, shape (4, 0)": partial(
                student.output_error, torch.zeros(4, 0), torch.zeros(0)
            )
        },
        {
            f"output_error(w, x, bits={bits}), w {describe(w)}": partial(student.output_error, w, x, bits)
            for bits in (8, 2)
        },
    )
