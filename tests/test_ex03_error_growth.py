"""ex03: the error of a matrix-vector product, measured and in theory."""

import math
from functools import partial

import pytest
import torch

from tests import oracle
from tests.messages import check_default, check_number, check_unchanged, check_value_errors, describe, fail

SIZES = [2**k for k in range(6, 15)]  # 64 to 16,384 terms
MEAN_SQUARE = "Is x left as it is, is there one scale for all of w, and is it a root of a mean of squares?"


@pytest.mark.points(3)
@pytest.mark.parametrize("bits", [8, 5, 3], ids=lambda bits: f"int{bits}")
def test_the_error_is_the_root_mean_square_over_rows(student, rng, bits):
    for rows, n in ((1, 5), (40, 300), (300, 40)):
        want = 0.0
        while want < 0.1 * 0.013 / 12**0.5 * n**0.5:  # where errors happen to cancel, float32 has no digits left
            # the largest weight of all decides the scale, not the largest of each row, half as large at most
            w = oracle.away_from_ties((rows, n), 0.013, rng, bits)
            w[1:] = oracle.away_from_ties((rows - 1, n), 0.013, rng, bits - 1)
            x = torch.randn(n, generator=rng) * 2 + 1
            error = (oracle.round_trip(w, bits) - w.double()) @ x.double()
            want = error.square().mean().sqrt().item()
        called = f"output_error(w, x, bits={bits}), w ({rows}, {n})"
        got = check_number(student.output_error(w, x, bits), called)
        check_unchanged(w, student.view(w), called)
        check_unchanged(x, student.view(x), called)
        with_8 = ((oracle.round_trip(w) - w.double()) @ x.double()).square().mean().sqrt().item()
        if not abs(got / want - 1) < 0.01:
            fail(
                called,
                got,
                f"{want:.6g}: root mean square over the rows of (w' - w) @ x",
                "Do the bits arrive?" if bits != 8 and abs(got / with_8 - 1) < 0.01 else MEAN_SQUARE,
            )
    check_default(student.output_error(w, x) == student.output_error(w, x, 8), "output_error(w, x)", "bits=8")


@pytest.mark.points(1)
def test_half_precision_and_zero_weights(student, rng):
    w, x = torch.randn(16, 64, generator=rng), torch.randn(64, generator=rng)
    called = "output_error(w, x), w all zeros"
    got = check_number(student.output_error(torch.zeros(16, 64), x), called)
    if got != 0:
        fail(called, got, 0)
    called = "output_error(w.half(), x.half())"
    got = check_number(student.output_error(w.half(), x.half()), called)
    error = (oracle.round_trip(w.half()) - oracle.exact(w.half())) @ oracle.exact(x.half())
    want = error.square().mean().sqrt().item()
    # half-precision weights are full of ties, so a few codes may differ by one step
    if not abs(got / want - 1) < 0.25:
        fail(called, got, want, oracle.PRECISION if 0.3 < got / want < 3 else "")
    codes = torch.randint(-7, 8, (16, 64), generator=rng) + 0.25 * torch.rand(16, 64, generator=rng).round()
    codes[:, 0] = 7
    for what, w in (("bfloat16", (codes * 7).bfloat16()), ("of size 1e-7", codes * 1e-8)):  # away from ties
        called = f"output_error(w, x, bits=4), w {what}"
        got = check_number(student.output_error(w, x, 4), called)
        want = ((oracle.round_trip(w, 4) - oracle.exact(w)) @ x.double()).square().mean().sqrt().item()
        if not abs(got / want - 1) < 0.01:
            fail(called, got, want, oracle.PRECISION if 0.3 < got / want < 3 else "")


@pytest.mark.points(2)
def test_theory_is_the_formula_of_the_lesson(student, rng):
    for n in (1, 7, 4096, 10**6):
        scale, x_rms = 0.01 + torch.rand((), generator=rng), 0.1 + 3 * torch.rand((), generator=rng)
        want = scale.item() / math.sqrt(12) * math.sqrt(n) * x_rms.item()
        for form in (lambda v: v, lambda v: v.item()):  # 0-dim tensors and Python numbers
            called = f"typical_error({n}, {scale:.4f}, {x_rms:.4f})"
            got = check_number(student.typical_error(n, form(scale), form(x_rms)), called)
            think = "Spread evenly over a step s, errors have standard deviation s / sqrt(12); how do n of them add up?"
            if not math.isclose(got, want, rel_tol=1e-5):
                fail(called, got, want, think)


@pytest.mark.points(1)
def test_the_worst_case_adds_up_like_n(student, rng):
    for n in (1, 7, 4096, 10**6):
        scale, x_max = 0.01 + torch.rand((), generator=rng), 0.1 + 3 * torch.rand((), generator=rng)
        want = n * scale.item() / 2 * x_max.item()
        for form in (lambda v: v, lambda v: v.item()):
            called = f"worst_case_error({n}, {scale:.4f}, {x_max:.4f})"
            got = check_number(student.worst_case_error(n, form(scale), form(x_max)), called)
            think = "How far off is one weight at most, and what do n of them add up to if all lean the same way?"
            if not math.isclose(got, want, rel_tol=1e-5):
                fail(called, got, want, think)


@pytest.mark.points(2)
@pytest.mark.parametrize("bits", [8, 4], ids=lambda bits: f"int{bits}")
def test_the_error_grows_like_the_square_root_of_n(student, rng, measured, bits):
    # N6. x has mean 1, so that errors which lean to one side would add up like n
    errors, wants = [], []
    for n in SIZES:
        w = oracle.without_near_ties(torch.rand(256, n, generator=rng) * 2 - 1, bits)
        x = torch.randn(n, generator=rng) + 1
        wants.append(((oracle.round_trip(w, bits) - w.double()) @ x.double()).square().mean().sqrt().item())
        errors.append(check_number(student.output_error(w, x, bits), f"output_error(w, x, bits={bits}), w (256, {n})"))
    x, y = torch.tensor(SIZES).double().log2(), torch.tensor(errors).double().log2()
    slope = (((x - x.mean()) * (y - y.mean())).sum() / (x - x.mean()).square().sum()).item()
    if bits == 8:
        measured["slope of the error"] = slope
    if slope > 0.55:
        think = "Errors without a preferred sign cancel. What makes them lean, or x's own errors join them?"
    else:
        think = "Does every one of the n terms count, and does nothing divide by n?"
    if not abs(slope - 0.5) <= 0.05:
        fail(
            f"output_error for n = {SIZES[0]} to {SIZES[-1]}, bits={bits}",
            f"growth like n ** {slope:.3f}",
            "growth like n ** 0.50, within 0.05",
            think,
        )
    for n, got, want in zip(SIZES, errors, wants, strict=True):  # any number of times the root of n has that slope
        called = f"output_error(w, x, bits={bits}), w (256, {n})"
        if not abs(got / want - 1) < 0.01:
            fail(called, got, f"{want:.6g}, within 1 %", MEAN_SQUARE)


@pytest.mark.points(1)
def test_bad_weights_are_a_value_error(student, rng):
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
