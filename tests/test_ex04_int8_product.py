"""ex04: quantized tokens, exact integer products, and scales brought in afterwards."""

import pytest
import torch
from hypothesis import strategies as st

from tests import oracle
from tests.messages import check_pair, check_tensor, check_unchanged, describe, fail, values

LEADS = [(5,), (2, 3), (1,), (), (2, 1, 4), (0,), (3, 0)]
LEADING = pytest.mark.parametrize("lead", LEADS, ids=lambda lead: f"x {(*lead, 'K')}".replace("'", ""))
SCALES = "Which scale belongs to a row of the result, which to a column, and is the bias scaled?"
PER_TOKEN = "A token is one row of K numbers: over which axis does the maximum run, and does that axis stay?"


@pytest.mark.points(2)
@LEADING
def test_every_token_has_a_scale_of_its_own(student, rng, lead):
    x = torch.randn(*lead, 48, generator=rng) * torch.logspace(-2, 2, 48).flip(0)
    if x.numel():
        x = x * (1 + 50 * torch.rand(*lead, 1, generator=rng))
    for tokens in (x, x[..., :1].contiguous()):
        called = f"quantize_tokens(x), x {describe(tokens)}"
        codes, scales = _pair(student.quantize_tokens(tokens), called, tokens)
        check_unchanged(tokens, student.view(tokens), called)
        _check_tokens(codes, scales, tokens, called)


@pytest.mark.points(1)
def test_quiet_loud_and_silent_tokens_live_together(student, rng):
    x = torch.randn(7, 64, generator=rng)
    x = x / x.abs().amax(1, keepdim=True) * torch.tensor([1e-30, 1.0, 0.0, 1e37, 1e-3, 0.0, 300.0])[:, None]
    for what, tokens in (
        ("tokens of size 1e-30 to 1e37 and zero", x),
        ("float16", x[[1, 2, 4, 6]].half()),
        ("float64", x.double()),
    ):
        called = f"quantize_tokens(x), {what}"
        codes, scales = _pair(student.quantize_tokens(tokens.clone()), called, tokens)
        _check_tokens(codes, scales, tokens, called)


@pytest.mark.points(1)
def test_the_smallest_sums_of_products_are_exact(student, rng, for_all):
    def matrices(k):
        row = st.lists(st.integers(-127, 127), min_size=k, max_size=k)
        return st.lists(row, min_size=1, max_size=2).map(lambda rows: torch.tensor(rows, dtype=torch.int8))

    def law(pair):
        xq, wq = pair
        called = f"int8_product(xq, wq), xq = {values(xq)}, wq = {values(wq)}"
        got = check_tensor(student.int8_product(xq, wq), called, (len(xq), len(wq)), torch.int32)
        want = (xq.double() @ wq.double().t()).long()
        think = "Which dtype do the products have, and is there room for them?"
        if not torch.equal(got.long(), want):
            fail(called, values(got), values(want), think)

    pairs = st.integers(2, 4).flatmap(lambda k: st.tuples(matrices(k), matrices(k)))
    large = torch.randint(-127, 128, (8, 64), generator=rng).to(torch.int8)
    student.int8_product(large, large)  # for a diagnosis
    for_all(law, 60, pair=pairs)


@pytest.mark.points(2)
@pytest.mark.parametrize("k", [2, 3, 64, 1024, 1100, 2048, 4096], ids=lambda k: f"K={k}")
def test_sums_of_code_products_are_exact(student, rng, k):
    random = torch.randint(-127, 128, (6, k), generator=rng).to(torch.int8)
    full = torch.full((4, k), 127, dtype=torch.int8)
    full[1] = -127
    full[2, ::2] = -127
    full[3, 0] = 126  # an odd sum, which float32 beyond 2**24 cannot hold
    for what, xq, wq in (("random codes", random[:2], random), ("codes of +-127", full, full)):
        called = f"int8_product(xq, wq), {what}, K = {k}"
        got = check_tensor(student.int8_product(xq, wq), called, (len(xq), len(wq)), torch.int32)
        want = (xq.double() @ wq.double().t()).long()  # float64 is exact up to 2**53
        wrong = (got.long() != want).nonzero()
        think = "How large can the sum get, and which dtype holds every whole number up to there?"
        if len(wrong):
            i = tuple(wrong[0])
            fail(called, f"{int(got[i]):,} ({len(wrong)} of {want.numel()} differ)", f"{int(want[i]):,}", think)


@pytest.mark.points(1)
@LEADING
def test_products_keep_any_leading_shape(student, rng, lead):
    xq = torch.randint(-127, 128, (*lead, 40), generator=rng).to(torch.int8)
    wq = torch.randint(-127, 128, (9, 40), generator=rng).to(torch.int8)
    called = f"int8_product(xq, wq), xq {tuple(xq.shape)}, wq (9, 40)"
    got = check_tensor(student.int8_product(xq, wq), called, (*lead, 9), torch.int32)
    want = (xq.double() @ wq.double().t()).long()
    think = "Which token went where, and was there room for the sums?"
    if not torch.equal(got.long(), want):
        fail(called, describe(got), describe(want.int()), think)
    if len(lead) == 2:  # as attention leaves its tokens
        called = f"int8_product(xq, wq), xq {tuple(xq.shape)} with strides {(40, 40 * lead[0], 1)}"
        result = student.int8_product(xq.transpose(0, 1).contiguous().transpose(0, 1), wq)
        got = check_tensor(result, called, (*lead, 9), torch.int32)
        if not torch.equal(got.long(), want):
            fail(called, describe(got), describe(want.int()), think)
    called = f"int8_product(xq, wq), xq {tuple(xq.shape)}, wq (1, 40)"
    got = check_tensor(student.int8_product(xq, wq[:1]), called, (*lead, 1), torch.int32)
    if not torch.equal(got.long(), want[..., :1]):
        fail(called, describe(got), describe(want[..., :1].int()), think)


@pytest.mark.points(2)
@pytest.mark.parametrize("biased", [False, True], ids=["no bias", "bias"])
@pytest.mark.parametrize("k", [5, 512, 4096], ids=lambda k: f"K={k}")
def test_matmul_scales_the_integer_sum_and_adds_the_bias(student, rng, k, biased):
    for lead in ((4,), (2, 3), ()):
        _check_matmul(student, rng, lead, k, 11, biased)
    # equal terms are rounded to the same side each time, if they are no whole numbers
    x = (0.01 + torch.rand(4, 1, generator=rng)).expand(4, k).contiguous()
    think = "Is each sum made of whole numbers, or of numbers that were scaled before?"
    _check_product(student, x, rng, 11, biased, torch.full((11, k), 127, dtype=torch.int8), think)


@pytest.mark.points(1)
def test_matmul_of_quiet_loud_half_silent_and_no_tokens(student, rng):
    for lead in ((0,), (2, 0)):
        _check_matmul(student, rng, lead, 16, 3, True)
    codes = torch.randint(-127, 128, (4, 64), generator=rng)
    codes[:, 0] = 127
    for half in (torch.float16, torch.bfloat16):  # both hold these values exactly
        _check_product(student, (codes / 32).to(half), rng, 6, True)
    # not up to 1e37: sum * token scale may overflow before the channel scale brings it down, which is no mistake
    for step in (7e29, torch.tensor([[1e-32], [0.5], [7e29], [0.0]]), 1e-32):
        _check_matmul(student, rng, (4,), 64, 6, False, step)


def _check_matmul(student, rng, lead, k, n, biased, step=0.02):
    x = oracle.away_from_ties((*lead, k), 1.0, rng).double().mul(torch.as_tensor(step).double()).float()
    _check_product(student, x, rng, n, biased)


def _check_product(student, x, rng, n, biased, wq=None, think=SCALES):
    lead, k = x.shape[:-1], x.shape[-1]
    if wq is None:
        wq = torch.randint(-127, 128, (n, k), generator=rng).to(torch.int8)
    w_scales = (torch.rand(n, 1, generator=rng) + 0.1) * 1e-3
    bias = torch.randn(n, generator=rng) * 5 if biased else None
    arguments = [x, wq, w_scales] + [bias] * biased
    called = f"int8_matmul(x, wq, w_scales, {'bias' if biased else 'None'}), x {describe(x)}"
    result = student.int8_matmul(x, wq, w_scales, bias) if biased else student.int8_matmul(x, wq, w_scales)
    axes = "How many axes has x, how many has the result, and which of your scales has more?"
    got = check_tensor(result, called, (*lead, n), torch.float32, axes)
    for argument in arguments:
        check_unchanged(argument, student.view(argument), called)
    want, allowed = oracle.int8_linear(x, wq, w_scales, bias)
    if x.numel() and 0 < x.abs().max() < 1e-20:
        think = oracle.ABSOLUTE
    oracle.check_close(got, want, allowed, called, "integer sum * token scale * channel scale + bias", think)


def _check_tokens(codes, scales, x, called):
    want = oracle.exact(x).abs().amax(-1, keepdim=True) / 127
    silent = scales[want == 0]
    right = ((silent > 0) & torch.isfinite(silent)).all()
    if not right:
        fail(called, f"scale {silent[0]:.4g} for a token of zeros", "any positive finite number", oracle.ZEROS)
    want = torch.where(want > 0, want, scales.double())
    oracle.check_scales(scales, want, x, f"{called} -> scales", PER_TOKEN)
    oracle.check_codes(codes, x, want, 8, f"{called} -> codes", oracle.ROUNDING, name="x")


def _pair(result, called, x):
    check_pair(result, called, "(codes, scales)")
    check_tensor(result[0], called + " -> codes", x.shape, torch.int8)
    check_tensor(result[1], called + " -> scales", (*x.shape[:-1], 1), torch.float32, PER_TOKEN)
    return result
