"""ex04: quantized tokens, exact integer products, and scales brought in afterwards."""

import itertools

import pytest
import torch
from hypothesis import strategies as st

from tests import oracle
from tests.laws import laws
from tests.messages import check_pair, check_tensor, check_unchanged, describe, fail, values
from tests.values_alone import ORDER, TOKENS, check_function, layouts, leading_shapes

LEADS = [(5,), (2, 3), (1,), (), (2, 1, 4), (0,), (3, 0)]
LEADING = pytest.mark.parametrize("lead", LEADS, ids=lambda lead: f"x {(*lead, 'K')}".replace("'", ""))
SCALES = "Which scale belongs to a row of the result, which to a column, and is the bias scaled?"
PER_TOKEN = "A token is one row of K numbers: over which axis does the maximum run, and does that axis stay?"


def tokens_of(lead, rng):
    """(*lead, 48) tokens of different size, whose first columns are much larger than the last."""
    x = torch.randn(*lead, 48, generator=rng) * torch.logspace(-2, 2, 48).flip(0)
    return x * (1 + 50 * torch.rand(*lead, 1, generator=rng)) if x.numel() else x


def tokens_of_every_size(rng):
    """(9, 64): small, large and zero tokens, in this order of max|x|; the last two hold one value everywhere."""
    x = torch.randn(9, 64, generator=rng)
    x[7], x[8] = 1, -1
    size = torch.tensor([1e-30, 1.0, 0.0, 1e37, 1e-3, 0.0, 300.0, 0.7, 1e-7])
    return x / x.abs().amax(1, keepdim=True) * size[:, None]


def half_precision_tokens(rng):
    """(4, 64) in float16 and in bfloat16, which hold these values exactly: times 127 / 255, none lies near a tie."""
    x = torch.randint(-255, 256, (4, 64), generator=rng)
    x[:, 0] = 255
    x = x * 2.0 ** torch.arange(-3, 1)[:, None]
    return [x.half(), x.bfloat16()]


@pytest.mark.points(1)
@LEADING
def test_every_token_has_a_scale_of_its_own(student, rng, lead):
    """Every token has a scale of its own."""
    x = tokens_of(lead, rng)
    for tokens in (x, x[..., :1].contiguous()):
        called = f"quantize_tokens(x), x {describe(tokens)}"
        codes, scales = _pair(student.quantize_tokens(tokens.clone()), called, tokens)
        _check_tokens(codes, scales, tokens, called)


@pytest.mark.points(1)
def test_tokens_of_every_size_have_their_own_scale(student, rng):
    """Small, large and zero tokens have their own scales."""
    x, called = tokens_of_every_size(rng), "quantize_tokens(x), tokens of size 1e-30 to 1e37 and zero"
    codes, scales = _pair(student.quantize_tokens(x.clone()), called, x)
    _check_tokens(codes, scales, x, called)


@pytest.mark.points(1)
def test_the_smallest_sums_of_products_are_exact(student, rng, for_all):
    """The smallest sums of products are exact."""

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


@pytest.mark.points(1)
@pytest.mark.parametrize("k", [2, 3, 64, 1024, 1100, 2048, 4096], ids=lambda k: f"K={k}")
def test_sums_of_code_products_are_exact(student, rng, k):
    """Sums of products are exact, however long they are."""
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
    """Products keep the leading shape, whatever it is."""
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


@pytest.mark.points(1)
@pytest.mark.parametrize("biased", [False, True], ids=["no bias", "bias"])
@pytest.mark.parametrize("k", [5, 512, 4096], ids=lambda k: f"K={k}")
def test_matmul_scales_the_integer_sum_and_adds_the_bias(student, rng, k, biased):
    """int8_matmul scales the integer sum and adds the bias."""
    for lead in ((4,), (2, 3), ()):
        _check_matmul(student, rng, lead, k, 11, biased)
    # equal terms are rounded to the same side each time, if they are no whole numbers
    x = (0.01 + torch.rand(4, 1, generator=rng)).expand(4, k) * torch.tensor([1, -1, 1, -1])[:, None]
    think = "Is each sum made of whole numbers, or of numbers that were scaled before?"
    _check_product(student, x, rng, 11, biased, torch.full((11, k), 127, dtype=torch.int8), think)


@pytest.mark.points(1)
def test_matmul_of_tokens_of_every_size(student, rng):
    """int8_matmul takes small, large and zero numbers."""
    # not up to 1e37: sum * token scale may overflow before the channel scale brings it down, which is no mistake
    for step in (7e29, torch.tensor([[1e-32], [0.5], [7e29], [0.0]]), 1e-32):
        _check_matmul(student, rng, (4,), 64, 6, False, step)
    x = oracle.away_from_ties((4, 64), 0.02, rng)
    for size in (1e-32, 1e28):
        w_scales = (torch.rand(6, 1, generator=rng) + 0.1) * size
        _check_product(student, x, rng, 6, False, w_scales=w_scales, what=f", w_scales of size {size:g}")


@pytest.mark.points(1)
def test_tokens_of_any_float_dtype_will_do(student, rng):
    """Tokens may have any float dtype."""
    x, few = tokens_of_every_size(rng), [1, 2, 4, 6]  # of a size that a float16 can hold
    for what, tokens in (("float16", x[few].half()), ("bfloat16", x[few].bfloat16()), ("float64", x.double())):
        called = f"quantize_tokens(x), {what}"
        codes, scales = _pair(student.quantize_tokens(tokens.clone()), called, tokens)
        _check_tokens(codes, scales, tokens, called)
    for half in half_precision_tokens(rng):
        _check_product(student, half, rng, 6, True)


def tokens_of_a_batch(rng):
    """(3, 4, 48): tokens of very different size, none of their numbers near a tie."""
    steps = torch.logspace(-3, 1, 12)[torch.randperm(12, generator=rng)].view(3, 4, 1)
    return oracle.away_from_ties((3, 4, 48), steps, rng)


def _neighbours(student, rng):
    """No token depends on other tokens, or on their number."""
    for what, (x, _) in leading_shapes(tokens_of_a_batch(rng)).items():
        called = f"quantize_tokens(x), {what}"
        codes, scales = _pair(student.quantize_tokens(x.clone()), called, x)
        _check_tokens(codes, scales, x, called, TOKENS)
        _check_product(student, x, rng, 6, True, think=TOKENS, what=f", {what}")


def _order_in_memory(student, rng):
    """No answer depends on the order in memory."""
    x, arguments = tokens_of_a_batch(rng), _arguments(rng, 48, 6, True)
    xq, (wq, w_scales, bias) = torch.randint(-127, 128, (3, 4, 48), generator=rng).to(torch.int8), arguments
    for what, strided in layouts(x).items():
        called = f"quantize_tokens(x), x (3, 4, 48), {what}"
        codes, scales = _pair(student.quantize_tokens(strided), called, x)
        _check_tokens(codes, scales, x, called, ORDER)
        _check_result(
            student.int8_matmul(strided, *arguments), (x, *arguments), f"int8_matmul(x, ...), x {what}", ORDER
        )
    for what, strided in layouts(xq).items():
        _check_sums(student.int8_product(strided, wq), (xq, wq), f"int8_product(xq, wq), xq {what}", ORDER)
    for k, (name, argument) in enumerate({"wq": wq, "w_scales": w_scales, "bias": bias}.items()):
        for what, strided in layouts(argument).items():
            given = [*arguments[:k], strided, *arguments[k + 1 :]]
            called = f"int8_matmul(x, wq, w_scales, bias), {name} {what}"
            _check_result(student.int8_matmul(x, *given), (x, *arguments), called, ORDER)
            if name == "wq":
                called = f"int8_product(xq, wq), wq {what}"
                _check_sums(student.int8_product(xq, strided), (xq, wq), called, ORDER)


def _calls_in_turn(student, rng):
    """No answer depends on an earlier call."""
    tokens, products, matmuls = [], [], []
    for _ in range(3):
        x, arguments = tokens_of_a_batch(rng), _arguments(rng, 48, 6, True)
        tokens.append((x,))
        products.append((torch.randint(-127, 128, (3, 4, 48), generator=rng).to(torch.int8), arguments[0]))
        matmuls.append((x, *arguments))

    def check_tokens(result, arguments, called, think):
        _check_tokens(*_pair(result, called, *arguments), *arguments, called, think)

    check_function(student, "quantize_tokens", tokens, check_tokens, "quantize_tokens(x)")
    check_function(student, "int8_product", products, _check_sums, "int8_product(xq, wq)")
    check_function(student, "int8_matmul", matmuls, _check_result, "int8_matmul(x, wq, w_scales, bias)")


@pytest.mark.points(1)
@laws(_neighbours, _order_in_memory, _calls_in_turn)
def test_answers_depend_on_values_alone(student, rng, law):
    """Answers depend on values alone."""
    law(student, rng)


@pytest.mark.points(1)
def test_arguments_stay_as_they_were(student, rng):
    """The arguments of your functions stay as they were."""
    for lead in LEADS:
        x = tokens_of(lead, rng)
        for tokens in (x, x[..., :1].contiguous()):
            called = f"quantize_tokens(x), x {describe(tokens)}"
            codes, scales = _pair(student.quantize_tokens(tokens), called, tokens)
            check_unchanged(tokens, student.view(tokens), called)
            _check_roughly(codes * scales, tokens.double(), f"{called} -> codes * scales")
    leads = itertools.product(((4,), (2, 3), (), (0,)), (5, 512))
    inputs = [oracle.away_from_ties((*lead, k), 0.02, rng) for lead, k in leads] + half_precision_tokens(rng)
    for x, biased in itertools.product(inputs, (False, True)):
        got, arguments, called = _matmul(student, x, rng, 11, biased)
        for argument in arguments:
            check_unchanged(argument, student.view(argument), called)
        _check_roughly(got, oracle.int8_linear(x, *arguments[1:3], arguments[3] if biased else None)[0], called)


def _check_roughly(got, want, called):
    """Other tests look at the values; here a function only has to compute: one that does nothing changes nothing."""
    if not (got.double() - want).norm() <= oracle.ROUNDED_TO_INT8 * want.norm():
        fail(called, describe(got), f"about {describe(want.float())}", SCALES)


def _check_sums(got, arguments, called, think):
    xq, wq = arguments
    check_tensor(got, called, (*xq.shape[:-1], len(wq)), torch.int32)
    want = xq.double() @ wq.double().t()
    oracle.check_close(got, want, torch.zeros_like(want), called, "the sum of the products", think)


def _check_result(got, arguments, called, think):
    check_tensor(got, called, (*arguments[0].shape[:-1], len(arguments[1])), torch.float32)
    want, allowed = oracle.int8_linear(*arguments)
    oracle.check_close(got, want, allowed, called, "integer sum * token scale * channel scale + bias", think)


def _check_matmul(student, rng, lead, k, n, biased, step=0.02):
    x = oracle.away_from_ties((*lead, k), 1.0, rng).double().mul(torch.as_tensor(step).double()).float()
    _check_product(student, x, rng, n, biased)


def _check_product(student, x, rng, n, biased, wq=None, think=SCALES, w_scales=None, what=""):
    got, (_, wq, w_scales, *bias), called = _matmul(student, x, rng, n, biased, wq, w_scales, what)
    want, allowed = oracle.int8_linear(x, wq, w_scales, bias[0] if biased else None)
    if x.numel() and (0 < x.abs().max() < oracle.TINY or w_scales.max() < oracle.TINY):
        think = oracle.ABSOLUTE
    oracle.check_close(got, want, allowed, called, "integer sum * token scale * channel scale + bias", think)


def _matmul(student, x, rng, n, biased, wq=None, w_scales=None, what=""):
    """What int8_matmul makes of x and of drawn or given codes, scales and bias; its arguments; which call it was."""
    lead, k = x.shape[:-1], x.shape[-1]
    drawn = _arguments(rng, k, n, biased)
    arguments = [x, drawn[0] if wq is None else wq, drawn[1] if w_scales is None else w_scales, *drawn[2:]]
    called = f"int8_matmul(x, wq, w_scales, {'bias' if biased else 'None'}){what or f', x {describe(x)}'}"
    axes = "How many axes has x, how many has the result, and which of your scales has more?"
    got = check_tensor(student.int8_matmul(*arguments), called, (*lead, n), torch.float32, axes)
    return got, arguments, called


def _arguments(rng, k, n, biased):
    """wq, w_scales, and a bias or none."""
    wq = torch.randint(-127, 128, (n, k), generator=rng).to(torch.int8)
    w_scales = (torch.rand(n, 1, generator=rng) + 0.1) * 1e-3
    return [wq, w_scales] + [torch.randn(n, generator=rng) * 5] * biased


def _check_tokens(codes, scales, x, called, think=""):
    want = oracle.exact(x).abs().amax(-1, keepdim=True) / 127
    of_zeros = scales[want == 0]
    right = ((of_zeros > 0) & torch.isfinite(of_zeros)).all()
    if not right:
        fail(called, f"scale {of_zeros[0]:.4g} for a token of zeros", "any positive finite number", oracle.ZEROS)
    want = torch.where(want > 0, want, scales.double())
    oracle.check_scales(scales, want, x, f"{called} -> scales", think or PER_TOKEN)
    oracle.check_codes(codes, x, want, 8, f"{called} -> codes", think or oracle.ROUNDING, name="x")


def _pair(result, called, x):
    check_pair(result, called, "(codes, scales)")
    check_tensor(result[0], called + " -> codes", x.shape, torch.int8)
    check_tensor(result[1], called + " -> scales", (*x.shape[:-1], 1), torch.float32, PER_TOKEN)
    return result
