"""ex10: codes of four bits in half a byte, float16 scales for groups, and what each width costs the GPT."""

from functools import partial

import pytest
import torch
from torch import nn

from grader.suite.verdict import SuiteError
from llm.checkpoint import load_gpt
from llm.evaluate import window_nats
from llm.linears import with_weights
from llm.outliers import with_outliers
from tests import oracle
from tests.gpt import drift, some_text
from tests.messages import (
    check_default,
    check_number,
    check_pair,
    check_tensor,
    check_unchanged,
    check_value_errors,
    fail,
    kind_of,
)
from tests.models import check_module, check_no_float_weight, tensors

ROUNDED = 2**-11  # how far a float16 may be from the number it stands for, relatively
GROUP = 32
SHAPES = [(3, 64, 32), (5, 70, 32), (2, 33, 16), (4, 24, 5), (3, 20, 32), (6, 50, None), (1, 7, 1)]
SHAPE = pytest.mark.parametrize("rows, columns, size", SHAPES, ids=[f"{r}x{c} by {s}" for r, c, s in SHAPES])


def random_codes(n, rng):
    """(n,) int8: all 15 codes, in any order."""
    codes = torch.randint(-7, 8, (n,), generator=rng)
    codes[:15] = torch.arange(-7, 8)[:n]
    return codes[torch.randperm(n, generator=rng)].to(torch.int8)


def check_grouped(student, w, bits, size, called):
    """quantize_grouped(w, bits, size), once shapes, scales and codes are right."""
    result = check_pair(student.quantize_grouped(w, bits, size), called, "(q, scales)")
    want = oracle.grouped_scales(w, bits, size)
    q = check_tensor(result[0], f"{called}[0]", tuple(w.shape), torch.int8)
    scales = check_tensor(result[1], f"{called}[1]", tuple(want.shape), torch.float16)
    check_unchanged(w, student.view(w), called)
    zero = want <= oracle.HALF.smallest_normal
    given = scales.double()
    right = ((given - want).abs() <= 2 * ROUNDED * want) | (
        zero & (given >= oracle.HALF.smallest_normal) & given.isfinite()
    )
    if not right.all():
        i = tuple((~right).nonzero()[0])
        law, think = "max|group| / qmax", "Which columns belong to this group, and by what is their largest divided?"
        if given[i] < oracle.HALF.smallest_normal:
            law, think = "at least 2**-14", "What is the smallest number that float16 holds with all its digits?"
        what = f"{want[i]:.6g}, {law}"
        at = f"[{int(i[0])}, {int(i[1])}]"
        fail(f"{called}, scales", f"{given[i]:.6g} at {at}", what, think)
    check_nearest(q, w, given[:, oracle.group_of(w.shape[1], size)], bits, called)
    return q, scales


def check_nearest(q, w, steps, bits, called):
    """Codes that are nearest for the scales that came with them; who rounds before scales do may be a little off."""
    ratio = oracle.exact(w) / steps
    distance = (q.double() - ratio.clamp(-oracle.qmax(bits), oracle.qmax(bits))).abs()
    right = (distance <= 0.5 + oracle.NEAR_TIE + ratio.abs() * 2 * ROUNDED) & (q.double().abs() <= oracle.qmax(bits))
    if not right.all():
        i = tuple((~right).nonzero()[0])
        got = f"code {int(q[i])} at [{int(i[0])}, {int(i[1])}], where w / scale = {ratio[i]:.4f}"
        want = f"code {int(ratio[i].round().clamp(-oracle.qmax(bits), oracle.qmax(bits)))}, the nearest"
        think = "Is w divided by the scale of its own group, and by the very scale that is returned?"
        fail(f"{called}, codes", f"{got} ({int((~right).sum()):,} of {q.numel():,} differ)", want, think)


@pytest.mark.points(1)
@pytest.mark.parametrize("n", [1, 2, 3, 15, 64, 1001], ids=lambda n: f"{n}-codes")
def test_codes_come_back_from_half_a_byte(student, rng, n):
    texts = [random_codes(n, rng), random_codes(n, rng)]
    called = f"pack_int4(q), {n} codes"
    packed = [check_tensor(student.pack_int4(q), called, ((n + 1) // 2,), torch.uint8) for q in texts]
    for q in texts:
        check_unchanged(q, student.view(q), called)
    for q, bytes_ in zip(texts[::-1], packed[::-1], strict=True):
        called = f"unpack_int4(pack_int4(q), {n})"
        got = check_tensor(student.unpack_int4(bytes_, n), called, (n,), torch.int8)
        wrong = (got != q).nonzero().flatten()
        if len(wrong):
            first = int(wrong[0])
            think = "Which half of a byte is which code, how does a sign get through four bits, and what if n is odd?"
            more = f"code {int(got[first])} at [{first}] ({len(wrong):,} of {n:,} differ)"
            fail(called, more, f"code {int(q[first])}, as it was", think)


@pytest.mark.points(1)
def test_a_code_lives_in_one_byte_that_says_it_all(student, rng):
    n = 41
    q = random_codes(n, rng)
    packed = check_tensor(student.pack_int4(q), f"pack_int4(q), {n} codes", ((n + 1) // 2,), torch.uint8)
    for place in torch.randperm(n, generator=rng)[:8].tolist():
        other = q.clone()
        other[place] = (int(q[place]) + 7 + int(torch.randint(1, 15, (), generator=rng))) % 15 - 7
        called = f"pack_int4(q), where code {place} of {n} is another one"
        now = check_tensor(student.pack_int4(other), called, ((n + 1) // 2,), torch.uint8)
        changed = int((now != packed).sum())
        think = "Where do the four bits of this code go, and who else has something to do with that byte?"
        if changed != 1:
            fail(called, f"{changed} bytes changed", "one byte", think)


@pytest.mark.points(2)
@pytest.mark.parametrize("bits", [4, 8, 3, 2], ids=lambda bits: f"int{bits}")
@SHAPE
def test_every_group_has_a_scale_and_the_nearest_codes(student, rng, rows, columns, size, bits):
    # the second half of the columns is small, and would be nothing but zeros under the scale of the first
    w = torch.randn(rows, columns, generator=rng) * torch.where(torch.arange(columns) < columns // 2, 1.0, 0.01)
    called = f"quantize_grouped(w, {bits}, {size}), w {tuple(w.shape)}"
    check_grouped(student, w, bits, size, called)
    if (bits, size) == (4, GROUP):
        got, want = student.quantize_grouped(w), student.quantize_grouped(w, 4, GROUP)
        same = all(map(torch.equal, got, want))
        check_default(same, "quantize_grouped(w)", "bits=4 and group_size=32")


@pytest.mark.points(1)
def test_scales_stay_normal_and_zeros_stay_zero(student, rng):
    w = torch.randn(8, 64, generator=rng)
    small = torch.tensor([1.0, 1e-3, 2**-11, 2**-12.5, 2**-14, 1e-7, 1e-30, 0.0])[:, None]
    for bits in (4, 8, 2):
        called = f"quantize_grouped(w, {bits}, 32), rows of size 1 down to 1e-30, and 0"
        q, _ = check_grouped(student, w * small, bits, GROUP, called)
        if q[-1].any():
            fail(called, "codes that are not 0 for weights that are", "0")
        for dtype in (torch.float16, torch.bfloat16):
            name = str(dtype).removeprefix("torch.")
            check_grouped(student, (w[:2] * 3).to(dtype), bits, GROUP, f"quantize_grouped(w, {bits}, 32), w {name}")
    check_grouped(student, w * 1e4, 4, GROUP, "quantize_grouped(w, 4, 32), w of size 1e4")


@pytest.mark.points(1)
def test_bad_weights_and_widths_are_a_value_error(student, rng):
    w = torch.randn(4, 64, generator=rng)
    holes = {value: w.clone() for value in ("nan", "inf", "-inf")}
    for value, bad in holes.items():
        bad[1, 40] = float(value)
    calls = {f"quantize_grouped(w, 4, 32), w with {value}": (bad, 4, GROUP) for value, bad in holes.items()}
    calls |= {f"quantize_grouped(w, {bits}, 32)": (w, bits, GROUP) for bits in (1, 0, 9, 16)}
    calls["quantize_grouped(w, 4, 32), w is empty"] = torch.zeros(0, 64), 4, GROUP
    good = {f"quantize_grouped(w, {bits}, 32)": partial(student.quantize_grouped, w, bits, GROUP) for bits in (2, 8)}
    check_value_errors({called: partial(student.quantize_grouped, *args) for called, args in calls.items()}, good)


def linear_on_half_scales(n, k, size, rng, bias=True):
    """A Linear whose scales are exactly float16 and whose codes are beyond dispute, and the weight it turns into."""
    group = oracle.group_of(k, size)
    odd = 2 * torch.randint(512, 1024, (n, int(group[-1]) + 1), generator=rng) + 1  # all 11 digits of a float16
    steps = (odd * 2.0**-17)[:, group]
    codes = torch.randint(-6, 7, (n, k), generator=rng)
    starts = torch.cat([torch.tensor([True]), group[1:] != group[:-1]])
    codes[:, starts] = 7 * (1 - 2 * torch.randint(0, 2, (n, int(starts.sum())), generator=rng))
    part = torch.where(starts, 0.0, torch.rand(n, k, generator=rng) * 0.8 - 0.4)
    linear = nn.Linear(k, n, bias=bias)
    linear.weight.data = (codes + part) * steps
    if bias:
        linear.bias.data = torch.randn(n, generator=rng)
    return linear, codes.double() * steps.double()


@pytest.mark.points(2)
@pytest.mark.parametrize("bias", [True, False], ids=["bias", "no bias"])
@pytest.mark.parametrize(
    "n, k, size", [(24, 128, 32), (7, 70, 32), (5, 33, 16), (9, 81, None)], ids=lambda value: str(value)
)
def test_a_layer_computes_with_the_unpacked_weight(student, rng, n, k, size, bias):
    linear, weight = linear_on_half_scales(n, k, size, rng, bias)
    called = f"int4_linear(linear, {size})"
    layer = check_module(student.int4_linear(linear, size), called)
    for lead in ((5,), (2, 3), ()):
        x = torch.randn(*lead, k, generator=rng)
        got = check_tensor(layer(x), f"{called}(x), x {tuple(x.shape)}", (*lead, n), torch.float32)
        want, allowed = x.double() @ weight.t(), x.double().abs() @ weight.abs().t()
        if bias:
            want, allowed = want + linear.bias.detach(), allowed + linear.bias.detach().abs()
        think = "Is the weight unpacked in its own shape, does every group get its own scale, and does x stay in float?"
        what = "x times the unpacked weight"
        oracle.check_close(got, want, allowed * oracle.PRODUCT, f"{called}(x), x {tuple(x.shape)}", what, think)
    mine = student.view(linear)
    same = isinstance(mine, nn.Linear) and torch.equal(mine.weight, linear.weight)
    if not same:
        fail(called, "another linear", "the linear itself as it was")


@pytest.mark.points(1)
def test_a_weight_takes_four_and_a_half_bits(student, rng, measured):
    for n, k, size in ((96, 512, 32), (64, 512, None), (64, 512, 128)):
        given, size = [] if size is None else [size], size or GROUP  # 32 is the default
        linear, weight = linear_on_half_scales(n, k, size, rng, bias=False)
        called = f"int4_linear({', '.join(['linear', *map(str, given)])}), weight ({n}, {k})"
        layer = check_module(student.int4_linear(linear, *given), called)
        check_no_float_weight(layer, linear, called)
        state = list(tensors(layer.state_dict()))
        held = {t.storage: t.nbytes for t in layer.held_tensors()}
        bits, expected = 8 * sum(t.nbytes for t in state) / (n * k), 4 + 16 / size
        think = "What does the state dict hold, in which dtype, and is there anything twice?"
        want = f"{expected}: 4 for the code, 16 / {size} of a scale; 7 times smaller than float32 at 32"
        if not abs(bits - expected) < 0.07:
            fail(f"{called}.state_dict()", f"{bits:.2f} bits a weight", want, think)
        memory = 8 * sum(held.values()) / (n * k)
        if not memory < expected + 0.2:
            fail(called, f"{memory:.2f} bits a weight in memory", f"{expected}", think)
        x = torch.eye(k)
        got = check_tensor(layer(x), f"{called}(x)", (k, n), torch.float32)
        error = (got.double().t() - weight).abs().max() / weight.abs().max()
        if not error < 1e-4:
            fail(
                f"{called}(x)",
                f"weights off by {error:.1%} of the largest",
                f"x times the unpacked weight, in groups of {size}",
            )
        if size == GROUP:
            measured["int4, bits a weight"] = bits
            measured["int4, Linear weights smaller by"] = 32 / bits


@pytest.mark.points(1)
@pytest.mark.timeout(300)
def test_the_gpt_survives_four_bits_and_not_two(student, rng, measured):
    text, plain = some_text(12, rng), load_gpt()
    tokens = torch.cat([text[:, :-1].flatten(), text[-1, -1:]])
    called = f"bit_width_sweep(gpt, {len(tokens):,} tokens, widths)"
    widths = (2, 8, 3, 6, 4)  # who goes on with the model of the width before gets nothing right
    found = _sweep(student, plain, tokens, widths, called)
    before = window_nats(plain, text)
    after = {bits: _rounded_nats(plain, text, bits) if bits < 6 else before for bits in widths}
    think = "Is each width applied to a fresh copy, to all Linears and nothing else, in groups of 32?"
    for bits in sorted(widths, reverse=True):
        want = after[bits].mean().exp().item()
        close = abs(found[bits] / want - 1) < 0.02
        if not close:
            fail(called, f"{found[bits]:.6g} at {bits} bits", f"{want:.6g}, within 2 %", think)
        measured[f"drift, int{bits} in groups of 32"] = found[bits] / before.mean().exp().item() - 1
    if not drift(after[4], before) < 0.05 < 1 < drift(after[2], before):
        raise SuiteError("on this text 4 bits cost more than 5 %, or 2 bits less than 100 %")
    # and of another model, in which other weights are large
    other = with_outliers(plain, 51, (8.0, 30.0), seed=int(torch.randint(1000, (), generator=rng)))
    called = f"bit_width_sweep(another gpt, {len(tokens):,} tokens, [3])"
    got, want = _sweep(student, other, tokens, [3], called)[3], _rounded_nats(other, text, 3).mean().exp().item()
    if not abs(got / want - 1) < 0.02:
        fail(called, got, f"{want:.6g}, within 2 %", think)
    mine = student.view(other)
    kept = all(torch.equal(t, mine.state_dict().get(name, t[:0])) for name, t in other.state_dict().items())
    if not kept:
        fail(called, "weights of the model itself that changed", "the model as it was")


def _sweep(student, model, tokens, widths, called):
    found = student.bit_width_sweep(model, tokens, list(widths))
    if not isinstance(found, dict):
        fail(called, kind_of(found), "a dict {width: perplexity}")
    if set(found) != set(widths):
        fail(called, f"results for {sorted(map(str, found))}", f"for {list(widths)}")
    return {bits: check_number(found[bits], f"{called}[{bits}]") for bits in widths}


def _rounded_nats(model, text, bits):
    """With all Linears rounded in groups of 32."""
    return window_nats(with_weights(model, lambda _, w: oracle.grouped_round_trip(w, bits, GROUP)), text)
