"""ex03: the error of a matrix-vector product, measured and in theory."""

import math
from functools import partial

import pytest
import torch

from tests import oracle
from tests.messages import check_default, check_number, check_unchanged, check_value_errors, describe, fail, percent

SIZES = [2**k for k in range(6, 15)]  # 64 to 16,384 terms
BITS = "Do the bits reach the function that rounds w?"
MEAN_SQUARE = "Is x left as it is, is there one scale for all of w, and is it a root of a mean of squares?"


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


@pytest.mark.points(3)
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
    w, x = torch.randn(16, 64, generator=rng).half(), torch.randn(64, generator=rng).half()
    # half-precision weights are full of ties, so a few codes may differ by one step
    _check_error(student, w, x, 8, "output_error(w.half(), x.half())", oracle.MANY_TIES)
    w = (_away_from_ties_of_int4(rng) * 7).bfloat16()
    x = torch.randn(64, generator=rng)
    _check_error(student, w, x, 4, "output_error(w, x, bits=4), w bfloat16", oracle.OUTPUT_ERROR)


@pytest.mark.points(1)
def test_weights_of_any_size_will_do(student, rng):
    """Weights of any size will do, zeros too."""
    x = torch.randn(64, generator=rng)
    called = "output_error(w, x), w all zeros"
    got = check_number(student.output_error(torch.zeros(16, 64), x), called)
    if got != 0:
        fail(called, got, 0)
    w = _away_from_ties_of_int4(rng) * 1e-8
    _check_error(student, w, x, 4, "output_error(w, x, bits=4), w of size 1e-7", oracle.OUTPUT_ERROR)


def _away_from_ties_of_int4(rng):
    """(16, 64) float32 weights whose scale at 4 bits is 1."""
    codes = torch.randint(-7, 8, (16, 64), generator=rng) + 0.25 * torch.rand(16, 64, generator=rng).round()
    codes[:, 0] = 7
    return codes


def _check_error(student, w, x, bits, called, tolerance):
    got = check_number(student.output_error(w, x) if bits == 8 else student.output_error(w, x, bits), called)
    want = exact_error(w, x, bits)
    if not abs(got / want - 1) < tolerance:
        fail(called, got, want, oracle.PRECISION if _same_size(got, want) else "")


def _same_size(got, want):
    return want / oracle.SAME_SIZE < got < want * oracle.SAME_SIZE


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


@pytest.mark.points(1)
def test_theory_is_the_formula_of_the_lesson(student, rng):
    """The typical error is the lesson's formula."""
    for n in (1, 7, 4096, 10**6):
        scale, x_rms = 0.01 + torch.rand((), generator=rng), 0.1 + 3 * torch.rand((), generator=rng)
        want = scale.item() / math.sqrt(12) * math.sqrt(n) * x_rms.item()
        for form in (lambda v: v, lambda v: v.item()):  # 0-dim tensors and Python numbers
            called = f"typical_error({n}, {scale:.4f}, {x_rms:.4f})"
            got = check_number(student.typical_error(n, form(scale), form(x_rms)), called)
            think = "Spread evenly over a step s, errors have standard deviation s / sqrt(12); how do n of them add up?"
            if not math.isclose(got, want, rel_tol=oracle.FORMULA):
                fail(called, got, want, think)


@pytest.mark.points(1)
def test_the_worst_case_adds_up_like_n(student, rng):
    """The worst case adds up like n."""
    for n in (1, 7, 4096, 10**6):
        scale, x_max = 0.01 + torch.rand((), generator=rng), 0.1 + 3 * torch.rand((), generator=rng)
        want = n * scale.item() / 2 * x_max.item()
        for form in (lambda v: v, lambda v: v.item()):
            called = f"worst_case_error({n}, {scale:.4f}, {x_max:.4f})"
            got = check_number(student.worst_case_error(n, form(scale), form(x_max)), called)
            think = "How far off is one weight at most, and what do n such errors add up to if all have the same sign?"
            if not math.isclose(got, want, rel_tol=oracle.FORMULA):
                fail(called, got, want, think)


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
                (torch.zeros(0, 8), 8, "w is empty"),
                (w, 1, "bits=1, which is not 2 to 8"),
                (w, 9, "bits=9, which is not 2 to 8"),
            )
        },
        {
            f"output_error(w, x, bits={bits}), w {describe(w)}": partial(student.output_error, w, x, bits)
            for bits in (8, 2)
        },
    )
