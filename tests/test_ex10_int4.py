"""ex10: codes of four bits in half a byte, float16 scales for groups, and what each width costs the GPT."""

from functools import partial

import pytest
import torch
from torch import nn

from grader.suite.verdict import SuiteError
from llm.checkpoint import load_gpt
from llm.evaluate import window_nats
from llm.linears import linears, with_weights
from llm.model import GPT, GPTConfig
from llm.outliers import with_outliers
from tests import oracle
from tests.gpt import drift, some_text
from tests.laws import laws
from tests.messages import (
    at,
    check_default,
    check_number,
    check_pair,
    check_tensor,
    check_unchanged,
    check_value_errors,
    fail,
    kind_of,
    percent,
)
from tests.models import changed, check_module, check_no_float_weight, tensors
from tests.values_alone import ORDER, check_function, check_layer, layouts

GROUP = 32
SWEEP = "Is each width applied to a fresh copy, to the weights of all Linears and nothing else, in groups of 32?"
SHAPES = [(3, 64, 32), (5, 70, 32), (2, 33, 16), (4, 24, 5), (3, 20, 32), (6, 50, None), (1, 7, 1)]
SHAPE = pytest.mark.parametrize("rows, columns, size", SHAPES, ids=[f"{r}x{c} by {s}" for r, c, s in SHAPES])


def random_codes(n, rng):
    """(n,) int8: all 15 codes, in any order."""
    codes = torch.randint(-7, 8, (n,), generator=rng)
    codes[:15] = torch.arange(-7, 8)[:n]
    return codes[torch.randperm(n, generator=rng)].to(torch.int8)


def check_grouped(student, w, bits, size, called):
    """quantize_grouped(w, bits, size), once scales and codes are right."""
    q, scales = quantized(student, w, bits, size, called)
    check_scales(scales, w, bits, size, called)
    check_nearest(q, scales, w, bits, size, called)
    return q, scales


def quantized(student, w, bits, size, called):
    """quantize_grouped(w, bits, size), once it is codes and scales of the right shapes."""
    result = codes_and_scales(student.quantize_grouped(w, bits, size), w, size, called)
    check_unchanged(w, student.view(w), called)
    return result


def codes_and_scales(result, w, size, called):
    """What quantize_grouped returned, once the shapes are right."""
    q, scales = check_pair(result, called, "(q, scales)")
    groups = int(oracle.group_of(w.shape[1], size)[-1]) + 1
    q = check_tensor(q, f"{called}[0]", tuple(w.shape), torch.int8)
    return q, check_tensor(scales, f"{called}[1]", (len(w), groups), torch.float16)


def check_scales(scales, w, bits, size, called, think=""):
    """Each is max|group| / qmax as float16, and none is below 2**-14."""
    want, given = oracle.grouped_scales(w, bits, size), scales.double()
    right = (given - want).abs() <= 2 * oracle.HALF_ROUNDING * want
    zeros = oracle.grouped_scales(w, bits, size, least=0) == 0
    right |= zeros & (given >= oracle.HALF.smallest_normal) & given.isfinite()
    if not right.all():
        i = (~right).nonzero()[0]
        got, expected = given[tuple(i)].item(), want[tuple(i)].item()
        law, why = "max|group| / qmax", "Which columns belong to this group, and by what is their largest divided?"
        if got < 0:
            law, why = f"{law}, which is positive", "Which of -3 and 2 decides how wide a grid around 0 has to be?"
        elif got < oracle.HALF.smallest_normal or expected == oracle.HALF.smallest_normal:
            law, why = "2**-14, the least", "Which is the smallest number that float16 holds with all its digits?"
        fail(f"{called}, scales", f"{got:.6g} at {at(i)}", f"{expected:.6g}, {law}", think or why)


def check_nearest(q, scales, w, bits, size, called, think=""):
    """Codes that are nearest for the scales that came with them; who rounds before scales do may be a little off."""
    usable = (scales > 0) & scales.isfinite()
    if not usable.all():
        i = (~usable).nonzero()[0]
        fail(f"{called}, scales", f"{scales[tuple(i)].item():.6g} at {at(i)}", "a positive finite scale")
    ratio = oracle.exact(w) / scales.double()[:, oracle.group_of(w.shape[1], size)]
    nearest = ratio.round().clamp(-oracle.qmax(bits), oracle.qmax(bits))
    distance = (q.double() - ratio.clamp(-oracle.qmax(bits), oracle.qmax(bits))).abs()
    right = distance <= 0.5 + oracle.NEAR_TIE + ratio.abs() * 2 * oracle.HALF_ROUNDING
    right &= q.double().abs() <= oracle.qmax(bits)
    if not right.all():
        i = (~right).nonzero()[0]
        got = f"code {int(q[tuple(i)])} at {at(i)}, where w / scale = {ratio[tuple(i)]:.4f}"
        got += f" ({int((~right).sum()):,} of {q.numel():,} differ)"
        why = "Is w divided by the scale of its own group, and by the very scale that is returned?"
        fail(f"{called}, codes", got, f"code {int(nearest[tuple(i)])}, the nearest", think or why)


@pytest.mark.points(1)
@pytest.mark.parametrize("n", [1, 2, 3, 15, 64, 1001], ids=lambda n: f"{n}-codes")
def test_codes_come_back_from_half_a_byte(student, rng, n):
    """Codes come back from half a byte as they were."""
    texts = [random_codes(n, rng), random_codes(n, rng)]
    called = f"pack_int4(q), {n} codes"
    packed = [check_tensor(student.pack_int4(q), called, ((n + 1) // 2,), torch.uint8) for q in texts]
    for q in texts:
        check_unchanged(q, student.view(q), called)
    for q, bytes_ in zip(texts[::-1], packed[::-1], strict=True):
        check_unpacked(student.unpack_int4(bytes_, n), q, f"unpack_int4(pack_int4(q), {n})")


def check_unpacked(got, q, called, think=""):
    """What unpack_int4 returned are the codes q."""
    got, n = check_tensor(got, called, tuple(q.shape), torch.int8), len(q)
    wrong = (got != q).nonzero().flatten()
    if len(wrong):
        first = int(wrong[0])
        why = "Which half of a byte is which code, how does a sign get through four bits, and what if n is odd?"
        more = f"code {int(got[first])} at [{first}] ({len(wrong):,} of {n:,} differ)"
        fail(called, more, f"code {int(q[first])}, as it was", think or why)


@pytest.mark.points(1)
def test_a_code_lives_in_one_byte_that_says_it_all(student, rng):
    """Every code lives in exactly one byte."""
    n = 42  # even: of an odd number of codes the unused half of the last byte may hold anything
    q = random_codes(n, rng)
    packed = check_tensor(student.pack_int4(q), f"pack_int4(q), {n} codes", (n // 2,), torch.uint8)
    for place in torch.randperm(n, generator=rng)[:8].tolist():
        other = q.clone()
        other[place] = (int(q[place]) + 7 + int(torch.randint(1, 15, (), generator=rng))) % 15 - 7
        called = f"pack_int4(q), after code {place} of {n} changed from {int(q[place])} to {int(other[place])}"
        now = check_tensor(student.pack_int4(other), called, (n // 2,), torch.uint8)
        changed = int((now != packed).sum())
        think = "Where do the four bits of this code go, and which other code is in the same byte?"
        if changed != 1:
            fail(called, f"{changed or 'no'} packed byte{'s' * (changed > 1)} changed", "one byte changed", think)


def some_weight(rows, columns, rng):
    """The second half of the columns is small: its codes would all be nearly 0 under the scale of the first half."""
    return torch.randn(rows, columns, generator=rng) * torch.where(torch.arange(columns) < columns // 2, 1000.0, 10.0)


@pytest.mark.points(1)
@pytest.mark.parametrize("bits", [4, 8, 3, 2], ids=lambda bits: f"int{bits}")
@SHAPE
def test_every_group_has_a_scale_of_its_own(student, rng, rows, columns, size, bits):
    """Every group has a scale of its own: max|group| / qmax."""
    w = some_weight(rows, columns, rng)
    called = f"quantize_grouped(w, {bits}, {size}), w {tuple(w.shape)}"
    _, scales = quantized(student, w, bits, size, called)
    check_scales(scales, w, bits, size, called)
    if (bits, size) == (4, GROUP):
        got, want = student.quantize_grouped(w), student.quantize_grouped(w, 4, GROUP)
        same = all(map(torch.equal, got, want))
        check_default(same, "quantize_grouped(w)", "bits=4 and group_size=32")


@pytest.mark.points(1)
@pytest.mark.parametrize("bits", [4, 8, 3, 2], ids=lambda bits: f"int{bits}")
@SHAPE
def test_every_code_is_the_nearest_for_the_scale_that_is_returned(student, rng, rows, columns, size, bits):
    """Every code is the nearest one for the scale that is returned."""
    w = some_weight(rows, columns, rng)
    called = f"quantize_grouped(w, {bits}, {size}), w {tuple(w.shape)}"
    q, scales = quantized(student, w, bits, size, called)
    check_nearest(q, scales, w, bits, size, called)


def _small_scales_stay_normal(student, rng):
    """No scale is below 2**-14, where float16 begins to lose digits."""
    sizes = torch.tensor([1.0, 1e-3, 2**-11, 2**-12.5, 2**-14, 1e-7, 1e-30])[:, None]
    w = torch.randn(7, 64, generator=rng) * sizes
    for bits in (4, 8, 2):
        check_grouped(student, w, bits, GROUP, f"quantize_grouped(w, {bits}, 32), rows of size 1 down to 1e-30")


def _zeros_have_codes_0(student, rng):
    """A row of zeros has codes 0 and a scale that is no less than 2**-14."""
    w = torch.randn(8, 64, generator=rng)
    w[-1] = 0
    for bits in (4, 8, 2):
        called = f"quantize_grouped(w, {bits}, 32), the last row of w all 0"
        q, _ = check_grouped(student, w, bits, GROUP, called)
        if q[-1].any():
            fail(called, "codes that are not 0 for weights that are", "0")


def _half_precision_will_do(student, rng):
    """Weights in half or double precision are quantized like any others."""
    w = 3 * torch.randn(2, 64, generator=rng)
    for bits in (4, 8, 2):
        for dtype in (torch.float16, torch.bfloat16, torch.float64):
            name = str(dtype).removeprefix("torch.")
            check_grouped(student, w.to(dtype), bits, GROUP, f"quantize_grouped(w, {bits}, 32), w {name}")


def _large_weights_will_do(student, rng):
    """Weights are quantized up to the largest scale that float16 holds, 65504."""
    for bits in (4, 8, 2):
        largest = oracle.HALF.max * oracle.qmax(bits)
        w = torch.randn(8, 64, generator=rng).clamp(-4, 4) / 4 * largest
        w[::2, 5], w[1::2, 40] = largest, -largest
        called = f"quantize_grouped(w, {bits}, 32), max|w| = 65504 * {oracle.qmax(bits)}"
        check_grouped(student, w, bits, GROUP, called)


def _equal_weights_will_do(student, rng):
    """A group whose weights are all equal, positive or negative, is quantized like any other."""
    w = torch.tensor([[0.5], [-0.5], [3.0], [-1e-3]]).expand(4, 64).clone()
    w[2:, GROUP:] *= -1
    for bits in (4, 8, 2):
        called = f"quantize_grouped(w, {bits}, 32), all weights of a group equal"
        check_grouped(student, w, bits, GROUP, called)


@pytest.mark.points(1)
@laws(
    _small_scales_stay_normal,
    _zeros_have_codes_0,
    _half_precision_will_do,
    _large_weights_will_do,
    _equal_weights_will_do,
)
def test_weights_of_every_size_are_quantized(student, rng, law):
    """Tiny, huge, half-precision and zero weights are quantized, too."""
    law(student, rng)


@pytest.mark.points(1)
def test_bad_weights_and_widths_are_a_value_error(student, rng):
    """Empty or non-finite weights and widths outside 2 to 8 are a ValueError."""
    w = torch.randn(4, 64, generator=rng)
    holes = {value: w.clone() for value in ("nan", "inf", "-inf")}
    for value, bad in holes.items():
        bad[1, 40] = float(value)
    calls = {f"quantize_grouped(w, 4, 32), w with {value}": (bad, 4, GROUP) for value, bad in holes.items()}
    calls |= {f"quantize_grouped(w, {bits}, 32)": (w, bits, GROUP) for bits in (1, 0, 9, 16)}
    for shape, size in (((0, 64), GROUP), ((3, 0), GROUP), ((3, 0), None)):
        calls[f"quantize_grouped(w, 4, {size}), w {shape} is empty"] = torch.zeros(shape), 4, size
    good = {f"quantize_grouped(w, {bits}, 32)": partial(student.quantize_grouped, w, bits, GROUP) for bits in (2, 8)}
    check_value_errors({called: partial(student.quantize_grouped, *args) for called, args in calls.items()}, good)


def linear_on_half_scales(n, k, size, rng, bias=True):
    """A Linear whose scales are exactly float16 and whose codes are beyond dispute, and the weight it turns into.

    The Linear's weight is transposed in memory, as it is after `linear.weight.data = w.t()`.
    """
    group = oracle.group_of(k, size)
    odd = 2 * torch.randint(512, 1024, (n, int(group[-1]) + 1), generator=rng) + 1  # all 11 digits of a float16
    steps = (odd * 2.0**-17)[:, group]
    codes = torch.randint(-6, 7, (n, k), generator=rng)
    starts = torch.cat([torch.tensor([True]), group[1:] != group[:-1]])
    codes[:, starts] = 7 * (1 - 2 * torch.randint(0, 2, (n, int(starts.sum())), generator=rng))
    part = torch.where(starts, 0.0, torch.rand(n, k, generator=rng) * 0.8 - 0.4)
    linear = nn.Linear(k, n, bias=bias)
    linear.weight.data = ((codes + part) * steps).t().contiguous().t()
    if bias:
        linear.bias.data = torch.randn(n, generator=rng)
    return linear, codes.double() * steps.double()


@pytest.mark.points(1)
@pytest.mark.parametrize("bias", [True, False], ids=["bias", "no bias"])
@pytest.mark.parametrize(
    "n, k, size", [(24, 128, 32), (7, 70, 32), (5, 33, 16), (9, 81, None)], ids=lambda value: str(value)
)
def test_a_layer_computes_with_the_unpacked_weight(student, rng, n, k, size, bias):
    """A layer multiplies x with the unpacked weight and adds the bias."""
    linear, weight = linear_on_half_scales(n, k, size, rng, bias)
    called = f"int4_linear(linear, {size})"
    layer = check_module(student.int4_linear(linear, size), called)
    for lead in ((5,), (2, 3), ()):
        x = torch.randn(*lead, k, generator=rng)
        got = check_tensor(layer(x), f"{called}(x), x {tuple(x.shape)}", (*lead, n), torch.float32)
        think = "Is the weight unpacked in its own shape, does every group get its own scale, and does x stay in float?"
        what = "x times the unpacked weight"
        wanted = float_product(x, weight, linear.bias)
        oracle.check_close(got, *wanted, f"{called}(x), x {tuple(x.shape)}", what, think)
        check_unchanged(x, student.view(x), f"{called}(x)")
    mine = student.view(linear)
    same = isinstance(mine, nn.Linear) and torch.equal(mine.weight, linear.weight)
    if not same:
        fail(called, "another linear", "the linear itself as it was")


def float_product(x, weight, bias):
    """(want, allowed): x times the weight, in float64."""
    want, size = x.double() @ weight.t(), x.double().abs() @ weight.abs().t()
    if bias is not None:
        want, size = want + bias.detach(), size + bias.detach().abs()
    return want, size * oracle.PRODUCT


def _packing_forgets(student, rng):
    """Each call of pack_int4 and unpack_int4 has a result of its own."""
    texts = [random_codes(64, rng), random_codes(64, rng)]

    def check_packed(packed, arguments, called, think):
        packed = check_tensor(packed, called, (32,), torch.uint8)
        check_unpacked(student.unpack_int4(packed, 64), arguments[0], f"unpack_int4 of {called}", think)

    check_function(student, "pack_int4", [(q,) for q in texts], check_packed, "pack_int4(q)")
    for what, q in layouts(texts[0]).items():
        check_packed(student.pack_int4(q), (q,), f"pack_int4(q), q {what}", ORDER)

    def check_codes(got, arguments, called, think):
        check_unpacked(got, codes_of[arguments[0]], called, think)

    packed = [check_tensor(student.pack_int4(q), "pack_int4(q), 64 codes", (32,), torch.uint8) for q in texts]
    codes_of = dict(zip(packed, texts, strict=True))
    calls = [(bytes_, 64) for bytes_ in packed]
    check_function(student, "unpack_int4", calls, check_codes, "unpack_int4(pack_int4(q), 64)")


def _groups_are_where_indices_say(student, rng):
    """Codes and scales depend on the values of w alone."""
    called = "quantize_grouped(w, 4, 32)"

    def check(result, arguments, called, think):
        q, scales = codes_and_scales(result, arguments[0], GROUP, called)
        check_scales(scales, *arguments, called, think)
        check_nearest(q, scales, *arguments, called, think)

    weights = [some_weight(4, 96, rng), some_weight(4, 96, rng).flip(1)]
    check_grouped(student, weights[0], 4, GROUP, called)
    for what, w in layouts(weights[0]).items():
        check(student.quantize_grouped(w, 4, GROUP), (w, 4, GROUP), f"{called}, w {what}", ORDER)
    check_function(student, "quantize_grouped", [(w, 4, GROUP) for w in weights], check, called)


def _a_layer_depends_on_x_alone(student, rng):
    """A layer's output depends on the values of x alone."""
    linear, weight = linear_on_half_scales(24, 70, GROUP, rng)
    called = "int4_linear(linear, 32)"
    layer = check_module(student.int4_linear(linear, GROUP), called)
    other, _ = linear_on_half_scales(24, 70, 64, rng)
    student.int4_linear(other, 64)  # where something of the layer made last counts for all, it is wrong from now on
    x = torch.randn(3, 4, 70, generator=rng)
    check_layer(student, layer, x, lambda x: float_product(x, weight, linear.bias), called)


def _a_sweep_depends_on_its_model_alone(student, rng):
    """A sweep depends on the weights and the context of its model alone."""
    windows = torch.randint(64, (2, 8 * 32 + 1), generator=rng)
    calls = [(small_gpt(rng), text, [4, 2]) for text in windows]
    called = "bit_width_sweep(gpt, tokens, [4, 2]), gpt with a context of 32"

    def check(found, arguments, called, think):
        model, text, widths = arguments
        for bits, got in perplexities(found, widths, called).items():
            nats = _rounded_nats(model, text.unfold(0, 33, 32), bits)
            check_perplexity(got, nats, called, f" at {bits} bits", think, oracle.PERPLEXITY_OF_GPT)

    check(student.bit_width_sweep(*calls[0]), calls[0], called, SWEEP)
    check_function(student, "bit_width_sweep", calls, check, called)


def small_gpt(rng):
    """A GPT with a context of 32, large biases, and weights whose codes at 4 and 2 bits are beyond dispute."""
    gpt = GPT(GPTConfig(vocab_size=64, block_size=32, n_layer=1, n_head=2, n_embd=64)).eval()
    for parameter in gpt.parameters():
        parameter.data = torch.randn(parameter.shape, generator=rng)
    for linear in linears(gpt).values():
        n, k = linear.weight.shape
        odd = 2 * torch.randint(64, 128, (n, k // GROUP), generator=rng) + 1
        part = torch.rand(n, k, generator=rng, dtype=torch.float64) * 1.9 - 0.95
        part[:, ::GROUP] = 1  # the largest of each group: its scale is a float16, at 4 bits and at 2
        for _ in range(3):  # moves what is nearly a tie
            near = sum(((part * q).abs() % 1 - 0.5).abs() < 0.01 for q in (1, 7)) > 0
            part = torch.where(near, part - 0.02 * part.sign(), part)
        steps = (odd * 7 * 2.0**-13)[:, oracle.group_of(k, GROUP)]
        linear.weight.data = (part * steps).float()
    return gpt


@pytest.mark.points(1)
@laws(_packing_forgets, _groups_are_where_indices_say, _a_layer_depends_on_x_alone, _a_sweep_depends_on_its_model_alone)
def test_answers_depend_on_values_alone(student, rng, law):
    """Answers depend on values alone, not on earlier calls or on the order in memory."""
    law(student, rng)


def some_layers(student, rng):
    """Layers of 32 columns a group, said in the call or by default, and of 128.

    yields: what was called, the layer, its Linear, the weight that its codes stand for, and the size of a group
    """
    for n, k, given in ((96, 512, [GROUP]), (64, 512, []), (64, 512, [128])):
        size = given[0] if given else GROUP
        linear, weight = linear_on_half_scales(n, k, size, rng, bias=False)
        called = f"int4_linear({', '.join(['linear', *map(str, given)])}), weight ({n}, {k})"
        yield called, check_module(student.int4_linear(linear, *given), called), linear, weight, size


HELD = "What does the state dict hold, in which dtype, and is there anything twice?"


def _the_state_dict_holds_codes_and_scales(student, rng, measured):
    """The state dict holds 4 bits for each code and 16 for the scale of each group."""
    for called, layer, linear, _, size in some_layers(student, rng):
        bits = 8 * sum(t.nbytes for t in tensors(layer.state_dict())) / linear.weight.numel()
        expected = 4 + 16 / size
        want = f"{expected}: 4 for the code, 16 / {size} of a scale; 7 times smaller than float32 at 32"
        if not abs(bits - expected) < oracle.EXTRA_BITS:
            fail(f"{called}.state_dict()", f"{bits:.2f} bits a weight", want, HELD)
        if size == GROUP:
            measured["int4, bits a weight"] = bits
            measured["int4, Linear weights smaller by"] = 32 / bits


def before_and_after_a_call(called, layer, linear):
    """Yields what was called: the layer as it was made, then the same once it has been called."""
    yield called
    layer(torch.ones(1, linear.in_features))
    yield f"{called}, once the layer was called"


def _no_float_weight_is_kept(student, rng, measured):
    """No float copy of the weight is kept anywhere, before or after a call."""
    for made, layer, linear, *_ in some_layers(student, rng):
        for called in before_and_after_a_call(made, layer, linear):
            check_no_float_weight(layer, linear, called)


def _nothing_else_is_in_memory(student, rng, measured):
    """In memory a layer is no larger than its codes and scales, before and after a call."""
    for made, layer, linear, _, size in some_layers(student, rng):
        for called in before_and_after_a_call(made, layer, linear):
            held = {t.storage: t.nbytes for t in layer.held_tensors()}
            bits, expected = 8 * sum(held.values()) / linear.weight.numel(), 4 + 16 / size
            if not bits < expected + oracle.EXTRA_BITS_IN_MEMORY:
                fail(called, f"{bits:.2f} bits a weight in memory", f"{expected}", HELD)


def _the_codes_say_it_all(student, rng, measured):
    """The layer multiplies with the weight that these codes and scales stand for."""
    for called, layer, linear, weight, size in some_layers(student, rng):
        k, n = linear.in_features, linear.out_features
        got = check_tensor(layer(torch.eye(k)), f"{called}(x)", (k, n), torch.float32)
        error = (got.double().t() - weight).abs().max() / weight.abs().max()
        if not error < oracle.UNPACKED:
            found = f"weights off by {error:.1%} of the largest"
            fail(f"{called}(x)", found, f"x times the unpacked weight, in groups of {size}")


@pytest.mark.points(1)
@laws(
    _the_state_dict_holds_codes_and_scales, _no_float_weight_is_kept, _nothing_else_is_in_memory, _the_codes_say_it_all
)
def test_a_weight_takes_four_and_a_half_bits(student, rng, measured, law):
    """A weight takes four and a half bits."""
    law(student, rng, measured)


def _each_width_costs_what_rounding_costs(student, rng, measured):
    """Each width costs the GPT what rounding its Linears in groups of 32 costs."""
    text, gpt = some_text(12, rng), load_gpt()
    widths = (2, 8, 3, 6, 4)  # who goes on with the model of the width before gets nothing right
    found, called = _sweep(student, gpt, text, widths, "gpt")
    before = window_nats(gpt, text)
    after = {bits: _rounded_nats(gpt, text, bits) if bits < 6 else before for bits in widths}
    for bits in sorted(widths, reverse=True):
        check_perplexity(found[bits], after[bits], called, f" at {bits} bits")
        measured[f"drift, int{bits} in groups of 32"] = found[bits] / before.mean().exp().item() - 1
    cost = {bits: drift(after[bits], before) for bits in (4, 2)}
    if not (cost[4] < oracle.SURVIVED and cost[2] > oracle.RUINED):
        raise SuiteError(f"on this text 4 bits cost {cost[4]:+.1%} and 2 bits {cost[2]:+.1%}")


def _another_gpt_is_rounded_anew(student, rng, measured):
    """Another GPT, in which other weights are large, is rounded by its own weights."""
    text = some_text(12, rng)
    other = with_outliers(load_gpt(), 51, (8.0, 30.0), seed=int(torch.randint(1000, (), generator=rng)))
    found, called = _sweep(student, other, text, [3], "another gpt")
    check_perplexity(found[3], _rounded_nats(other, text, 3), called)


def _the_gpt_stays_as_it_was(student, rng, measured):
    """The GPT itself stays as it was."""
    gpt = load_gpt()
    _, called = _sweep(student, gpt, some_text(1, rng), [3], "gpt")
    if found := changed(student.view(gpt), gpt):
        fail(called, found, "the model as it was", "Which model do you round: the one that you were given, or a copy?")


@pytest.mark.points(1)
@pytest.mark.slow("quantize_grouped", "bit_width_sweep")
@pytest.mark.timeout(300)
@laws(_each_width_costs_what_rounding_costs, _another_gpt_is_rounded_anew, _the_gpt_stays_as_it_was)
def test_the_gpt_survives_four_bits_and_not_two(student, rng, measured, law):
    """The GPT survives four bits, and does not survive two."""
    law(student, rng, measured)


def check_perplexity(got, nats, called, at_bits="", think=SWEEP, allowed=oracle.SWEEP):
    """It is about that of the suite's own rounded GPT."""
    want = nats.mean().exp().item()
    if not abs(got / want - 1) < allowed:
        fail(called, f"{got:.6g}{at_bits}", f"{want:.6g}, within {percent(allowed)}", think)


def _sweep(student, model, text, widths, what):
    """({width: perplexity}, what was called)"""
    tokens = torch.cat([text[:, :-1].flatten(), text[-1, -1:]])
    called = f"bit_width_sweep({what}, {len(tokens):,} tokens, {'widths' if len(widths) > 1 else widths})"
    return perplexities(student.bit_width_sweep(model, tokens, list(widths)), widths, called), called


def perplexities(found, widths, called):
    """{width: perplexity}, once it is a number for each width."""
    if not isinstance(found, dict):
        fail(called, kind_of(found), "a dict {width: perplexity}")
    if set(found) != set(widths):
        fail(called, f"results for {', '.join(map(str, found)) or 'no width'}", f"results for {list(widths)}")
    return {bits: check_number(found[bits], f"{called}[{bits}]") for bits in widths}


def _rounded_nats(model, text, bits):
    """With all Linears rounded in groups of 32."""
    return window_nats(with_weights(model, lambda _, w: oracle.grouped_round_trip(w, bits, GROUP)), text)
