"""ex02: a scale per channel, along any axis of any tensor, and what it buys."""

import math
from functools import partial

import pytest
import torch
from hypothesis import strategies as st

from tests import oracle
from tests.laws import laws
from tests.messages import (
    check_pair,
    check_tensor,
    check_unchanged,
    check_value_errors,
    describe,
    fail,
    percent,
    values,
)
from tests.values_alone import ORDER, check_function, layouts

EVERY_WIDTH = [8, 5, 4, 3, 2, 7, 6]
AXES = [((7, 12), 0), ((7, 12), 1), ((7, 12), -1), ((7, 12), -2), ((9,), 0), ((9,), -1), ((5, 4, 6), 0), ((5, 4, 6), 1)]
AXES += [((5, 4, 6), -1), ((3, 5, 2, 4), 2), ((3, 5, 2, 4), -4), ((3, 5, 2, 4), -3)]
BITS = "Do the bits reach the function that makes the scales, and the one that makes the codes?"
WHICH = "axis is the one that is kept: how many scales should there be, and which axes does the maximum run over?"


def kept(shape, axis):
    """The shape of the scales: 1 everywhere but at axis."""
    sizes = [1] * len(shape)
    sizes[axis] = shape[axis]
    return tuple(sizes)


@pytest.fixture
def weights(rng):
    """Rows of very different size, as in a trained layer, only more so."""
    return torch.randn(24, 96, generator=rng) * torch.logspace(-3, 0, 24)[torch.randperm(24, generator=rng)][:, None]


@pytest.mark.points(1)
def test_the_smallest_tensors_get_their_scales(student, rng, for_all):
    """The smallest tensors get their scales."""

    @st.composite
    def cases(draw):
        shape = draw(st.lists(st.integers(1, 3), min_size=1, max_size=4))
        numbers = st.lists(st.integers(-9, 9), min_size=math.prod(shape), max_size=math.prod(shape))
        w = torch.tensor(draw(numbers), dtype=torch.float32).view(shape)
        return w, draw(st.integers(-len(shape), len(shape) - 1))

    def law(case, bits):
        w, axis = case
        called = f"channel_scales(w, bits={bits}, axis={axis}), w = {values(w)}"
        got = student.channel_scales(w.clone(), bits=bits, axis=axis)
        check_tensor(got, called, kept(w.shape, axis), torch.float32, WHICH)
        largest = w.abs().movedim(axis, 0).flatten(1).amax(1) if w.dim() > 1 else w.abs()
        not_zero = (largest > 0).view(got.shape)  # a channel of zeros may have any scale
        want = torch.where(not_zero, oracle.channel_scales(w, bits, axis), got.double())
        oracle.check_scales(got, want, w, called, f"{WHICH} And does the sign count?")

    student.channel_scales(torch.randn(5, 7, generator=rng), axis=1)  # for a diagnosis
    for_all(law, 60, case=cases(), bits=st.sampled_from([8, 4, 2]))


@pytest.mark.points(1)
def test_one_scale_for_every_index_along_the_axis(student, rng):
    """Every index along the axis has one scale."""
    for shape, axis in AXES:
        w = torch.randn(shape, generator=rng)
        called = f"channel_scales(w, axis={axis}), w {describe(w)}"
        got = student.channel_scales(w, axis=axis)
        check_tensor(got, called, kept(shape, axis), torch.float32, WHICH)
        oracle.check_scales(got, oracle.channel_scales(w, 8, axis), w, called, f"{WHICH} And does the sign count?")


@pytest.mark.points(1)
def test_the_width_sets_the_last_code_of_every_channel(student, weights):
    """The width sets the last code of every channel."""
    for bits in EVERY_WIDTH:
        called = f"channel_scales(w, bits={bits})"
        got = check_tensor(student.channel_scales(weights.clone(), bits), called, (24, 1), torch.float32, WHICH)
        oracle.check_scales(got, oracle.channel_scales(weights, bits, 0), weights, called, BITS)
        upright, called = weights.t().contiguous(), f"quantize_per_channel(w, bits={bits}, axis=1)"
        q, scales = _pair(student.quantize_per_channel(upright, bits=bits, axis=1), called, upright.shape, 1)
        oracle.check_scales(scales, oracle.channel_scales(upright, bits, 1), upright, f"{called} -> scales", BITS)
        oracle.check_codes(q, upright, oracle.channel_scales(upright, bits, 1), bits, f"{called} -> q", BITS)


@pytest.mark.points(1)
def test_every_weight_gets_the_nearest_code_of_its_channel(student, rng):
    """Every weight gets the nearest code of its channel."""
    for shape, axis in AXES:
        w = torch.randn(shape, generator=rng) * 3
        called = f"quantize_per_channel(w, axis={axis}), w {describe(w)}"
        q, scales = _pair(student.quantize_per_channel(w, axis=axis), called, shape, axis)
        oracle.check_scales(scales, oracle.channel_scales(w, 8, axis), w, f"{called} -> scales", WHICH)
        oracle.check_codes(q, w, oracle.channel_scales(w, 8, axis), 8, f"{called} -> q", oracle.ROUNDING)


@pytest.mark.points(1)
def test_codes_times_their_channels_scale_is_the_way_back(student, rng):
    """The way back is the code times its channel's scale."""
    for shape, axis in AXES:
        q = torch.randint(-127, 128, shape, generator=rng).to(torch.int8)
        scales = torch.rand(kept(shape, axis), generator=rng) + 0.01
        for size in (1, 1e-31, 1e34):
            _check_way_back(student, q, scales * size, f"scales {tuple(scales.shape)} of size {size:g}")


def _check_way_back(student, q, scales, what):
    called = f"dequantize_per_channel(q, scales), q {tuple(q.shape)}, {what}"
    _check_values_of(student.dequantize_per_channel(q, scales), (q, scales), called)


def _check_values_of(got, arguments, called, think=""):
    q, scales = arguments
    want = q.double() * scales.double()
    check_tensor(got, called, q.shape, torch.float32)
    allowed = want.abs() * oracle.CODE_TIMES_SCALE
    oracle.check_close(got, want, allowed, called, "the code times the scale of its channel", think)


@pytest.mark.points(1)
def test_every_row_keeps_its_own_bound(student, weights):
    """Every row keeps its own bound, half of its own step."""
    for bits in EVERY_WIDTH:
        called = f"quantize_per_channel(w, bits={bits}), rows of very different size"
        q, scales = _pair(student.quantize_per_channel(weights.clone(), bits), called, weights.shape, 0)
        oracle.check_scales(scales, oracle.channel_scales(weights, bits, 0), weights, f"{called} -> scales", BITS)
        rebuilt = q.double() * scales.double()
        oracle.check_bound(rebuilt, weights, oracle.channel_scales(weights, bits, 0), called, WHICH)
        worst = (rebuilt - weights.double()).abs().max()
        per_tensor = oracle.scale(weights, bits) / 2
        if not worst <= per_tensor * oracle.HALF_STEP:
            fail(called, f"an error of {worst:.4g}", f"at most {per_tensor:.4g}, half a step of one scale for all of w")


@pytest.mark.points(1)
def test_it_is_a_free_improvement(student, rng, measured):
    """A scale for every row makes the error smaller."""
    # N7: on random matrices that are not tiny, a scale per row never loses on average; on trained ones it wins more
    for shape in ((16, 64), (64, 256), (256, 512)):
        w = torch.randn(shape, generator=rng)
        called = f"quantize_per_channel(w), w random normal {shape}"
        q, scales = _pair(student.quantize_per_channel(w), called, shape, 0)
        rows = (q.double() * scales.double() - w.double()).square().mean().sqrt().item()
        whole = (oracle.round_trip(w) - w.double()).square().mean().sqrt().item()
        if not rows < whole:
            fail(called, f"an rms error of {rows:.4g}", f"less than with one scale for all of w: {whole:.4g}")
    measured["per-channel error, of per-tensor"] = rows / whole


@pytest.mark.points(1)
def test_a_huge_weight_spoils_its_own_row_only(student, rng):
    """A huge weight spoils its own row only."""
    w = torch.randn(8, 64, generator=rng) * 0.02
    for what, rows, size in (("one weight of 50", (3, 7), 50.0), ("one row a million times larger", (3,), 1e6)):
        spoilt = w.clone()
        spoilt[rows] = size if len(rows) == 2 else spoilt[rows] * size
        called = f"quantize_per_channel(w), {what}"
        q, scales = _pair(student.quantize_per_channel(spoilt), called, w.shape, 0)
        others = [i for i in range(8) if i != 3]
        error = (q.double() * scales.double() - spoilt.double())[others].square().mean().sqrt().item()
        before = (oracle.round_trip(w, axis=0) - w.double())[others].square().mean().sqrt().item()
        if not error < before * (1 + oracle.OTHER_ROWS):
            expected = f"{before:.4g}, as without it, or at most {percent(oracle.OTHER_ROWS)} more"
            fail(called, f"an rms error of {error:.4g} in the other rows", expected, WHICH)


@pytest.mark.points(1)
def test_channels_of_zeros_come_back_as_zeros(student, weights):
    """Zeros come back as zeros and disturb no other channel."""
    w = weights.clone()
    w[[2, 9]] = 0
    _check_zeros(student, w, 0, [2, 9], "rows 2 and 9 all zeros")
    _check_zeros(student, w.t().contiguous(), 1, [2, 9], "columns 2 and 9 all zeros")
    _check_zeros(student, w.half(), 0, [2, 9], "float16, rows 2 and 9 all zeros")
    _check_zeros(student, torch.tensor([1.0, 0.0, -2.0]), 0, [1], "a vector with a zero")
    _check_zeros(student, torch.tensor([0.7, 0.0, -2.1]).half(), 0, [1], "a float16 vector with a zero")
    _check_zeros(student, torch.zeros(2, 3), 0, [0, 1], "all zeros")


def _check_zeros(student, w, axis, zero, what):
    """Channels `zero` along axis are all zeros: any positive scale, codes 0; the others as if nothing were."""
    called = f"channel_scales(w, axis={axis}), {what}"
    alone = student.channel_scales(w.clone(), axis=axis)
    check_tensor(alone, called, kept(w.shape, axis), torch.float32, WHICH)
    right = ((alone > 0) & torch.isfinite(alone)).all()
    if not right:
        fail(called, describe(alone), "scales > 0, for zeros as well", oracle.ZEROS)
    called = f"quantize_per_channel(w, axis={axis}), {what}"
    q, scales = _pair(student.quantize_per_channel(w.clone(), axis=axis), called, tuple(w.shape), axis)
    free = scales.movedim(axis, 0)[zero]
    right = ((free > 0) & torch.isfinite(free)).all()
    if not right:
        fail(called, f"scale {free.flatten()[0].item():.4g}", "any positive finite number", oracle.ZEROS)
    want = oracle.channel_scales(w, 8, axis)
    want = want.movedim(axis, 0).index_copy(0, torch.tensor(zero), free.double()).movedim(0, axis)
    oracle.check_scales(scales, want, w, f"{called} -> scales", WHICH)
    oracle.check_codes(q, w, want, 8, f"{called} -> q")
    back = student.dequantize_per_channel(q, scales.clone()).movedim(axis, 0)[zero]
    if back.any():
        fail(f"dequantize_per_channel(q, scales), {what}", describe(back), "zeros")


def sizes(weights):
    return {
        "rows of max|w| = 1e-30": weights / weights.abs().amax(1, keepdim=True) * 1e-30,
        "rows of max|w| = 1e37": weights / weights.abs().amax(1, keepdim=True) * 1e37,
        "many huge weights, whose sum is infinite": torch.full((32, 32), 1e37),
        "all weights of a row equal": torch.tensor([0.3, -1.7, 5e-9])[:, None].repeat(1, 6),
    }


def dtypes(weights):
    return {"float16": weights.half(), "bfloat16": weights.bfloat16(), "float64": weights.double() * math.pi}


def _any_size(student, weights, rng):
    """Weights may be tiny or huge."""
    _check_scales_and_codes(student, sizes(weights))


def _any_dtype(student, weights, rng):
    """Weights may have any float dtype."""
    _check_scales_and_codes(student, dtypes(weights))


def _any_layout(student, weights, rng):
    """Weights may have any order in memory."""
    _check_scales_and_codes(student, {"a transposed view": weights.t()})
    w = torch.randn(4, 5, 6, generator=rng)
    scales = torch.rand(1, 5, 1, generator=rng) + 0.1
    codes = torch.randint(-127, 128, (4, 5, 6), generator=rng).to(torch.int8)
    for what, strided in layouts(w).items():
        called = f"channel_scales(w, axis=1), w (4, 5, 6), {what}"
        got = check_tensor(student.channel_scales(strided, axis=1), called, (1, 5, 1), torch.float32, WHICH)
        oracle.check_scales(got, oracle.channel_scales(w, 8, 1), w, called, ORDER)
        called = f"quantize_per_channel(w, axis=1), w (4, 5, 6), {what}"
        _check_pair(student.quantize_per_channel(strided, axis=1), (w, 8, 1), called, ORDER)
        called = f"dequantize_per_channel(q, scales), q (4, 5, 6), {what}"
        _check_values_of(student.dequantize_per_channel(layouts(codes)[what], scales), (codes, scales), called, ORDER)
        called = f"dequantize_per_channel(q, scales), scales (1, 5, 1), {what}"
        _check_values_of(student.dequantize_per_channel(codes, layouts(scales)[what]), (codes, scales), called, ORDER)


def _only_values_count(student, weights, rng):
    """Answers depend on values alone."""
    calls = [(torch.randn(4, 5, 6, generator=rng) * size, 4, 1) for size in (1, 9, 0.1)]  # larger, then smaller

    def check_scales(got, arguments, called, think):
        check_tensor(got, called, (1, 5, 1), torch.float32, WHICH)
        oracle.check_scales(got, oracle.channel_scales(*arguments), arguments[0], called, think)

    way_back = [
        (oracle.codes(w, step := oracle.channel_scales(w, 4, 1), 4).to(torch.int8), step.float()) for w, *_ in calls
    ]
    check_function(student, "channel_scales", calls, check_scales, "channel_scales(w, 4, axis=1)")
    check_function(student, "quantize_per_channel", calls, _check_pair, "quantize_per_channel(w, 4, axis=1)")
    check_function(student, "dequantize_per_channel", way_back, _check_values_of, "dequantize_per_channel(q, scales)")


def _check_pair(result, arguments, called, think):
    w, bits, axis = arguments
    q, scales = _pair(result, called, w.shape, axis)
    want = oracle.channel_scales(w, bits, axis)
    oracle.check_scales(scales, want, w, f"{called} -> scales", think)
    oracle.check_codes(q, w, want, bits, f"{called} -> q", think)


def _check_scales_and_codes(student, cases):
    for what, w in cases.items():
        called = f"quantize_per_channel(w), {what}"
        q, scales = _pair(student.quantize_per_channel(w), called, w.shape, 0)
        oracle.check_scales(scales, oracle.channel_scales(w, 8, 0), w, f"{called} -> scales", WHICH)
        oracle.check_codes(q, w, oracle.channel_scales(w, 8, 0), 8, f"{called} -> q", oracle.PRECISION)


def _w_stays_as_it_was(student, weights, rng):
    """Your functions leave w as it was."""
    drawn = [(torch.randn(shape, generator=rng), axis) for shape, axis in AXES]
    cases = [(w, axis, f"axis={axis}), w {describe(w)}") for w, axis in drawn]
    kinds = {"a transposed view": weights.t()} | dtypes(weights) | sizes(weights)
    cases += [(w, 0, f"axis=0), {what}") for what, w in kinds.items()]
    for w, axis, what in cases:
        student.channel_scales(w, axis=axis)
        check_unchanged(w, student.view(w), f"channel_scales(w, {what}")
        student.quantize_per_channel(w, axis=axis)
        check_unchanged(w, student.view(w), f"quantize_per_channel(w, {what}")


def _what_cannot_be_quantized(student, weights, rng):
    """What cannot be quantized is a ValueError."""
    holes = weights.clone()
    holes[1, 1] = math.nan
    full = weights.clone()
    full[5, 0] = -math.inf
    calls = {}
    for w, bits, why in (
        (holes, 8, "w holds NaN"),
        (full, 8, "w holds -infinity"),
        *[(torch.zeros(shape), 8, f"w is empty, shape {shape}") for shape in ((0, 4), (4, 0), (0,), (2, 0, 3))],
        *[(weights, bits, f"bits={bits}, which is not 2 to 8") for bits in (1, 9, 0, -3, 16)],
    ):
        calls[f"channel_scales(w, bits), {why}"] = partial(student.channel_scales, w, bits)
        calls[f"quantize_per_channel(w, bits), {why}"] = partial(student.quantize_per_channel, w, bits)
    good = {}
    for bits in (8, 2):
        good[f"channel_scales(w, bits={bits}), w {describe(weights)}"] = partial(student.channel_scales, weights, bits)
        called = f"quantize_per_channel(w, bits={bits}), w {describe(weights)}"
        good[called] = partial(student.quantize_per_channel, weights, bits)
    check_value_errors(calls, good)


@pytest.mark.points(1)
@laws(_any_size, _any_dtype, _any_layout, _only_values_count, _w_stays_as_it_was, _what_cannot_be_quantized)
def test_any_tensor_of_finite_numbers_will_do_and_nothing_else(student, weights, rng, law):
    """Any finite tensor is quantized, and nothing else."""
    law(student, weights, rng)


def _pair(result, called, shape, axis):
    """(q, scales) once they have the types and shapes of the contract."""
    check_pair(result, called, "(q, scales)")
    turned = isinstance(result[1], torch.Tensor) and result[1].dtype == torch.int8
    if turned:
        fail(called, "the codes in second place", "(q, scales): codes first")
    check_tensor(result[0], called + " -> q", shape, torch.int8)
    check_tensor(result[1], called + " -> scales", kept(shape, axis), torch.float32, WHICH)
    return result
