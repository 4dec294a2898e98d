"""ex11: outlier columns in floating point, all others in int8, and a GPT that plain int8 breaks."""

import pytest
import torch
from torch import nn

from grader.suite.pytorch_quantization import torch_dynamic
from grader.suite.verdict import SuiteError
from llm.checkpoint import load_gpt
from llm.evaluate import window_nats
from llm.linears import with_layers
from llm.outliers import with_outliers
from tests import oracle
from tests.gpt import Inserted, drift, some_text
from tests.laws import laws
from tests.messages import check_tensor, check_unchanged, describe, fail, percent
from tests.models import check_int8_weights, check_module, tensors
from tests.specimens import CodesLinear
from tests.values_alone import ORDER, check_function, layouts, leading_shapes

WINDOWS = 12
THRESHOLD = 10.0  # on the GPT: at the 6.0 of the paper, a tenth of its columns would be outliers, most behind GELU
DEFAULT = "Which threshold is taken where the call names none?"
PARTS = "outlier columns in float, the others in int8"
THINK = "Which columns go which way, has each token a scale of its own, without outliers, and is the bias added once?"
ANY = "Of which sign may an outlier be, over which axes does `any` run, and does the threshold arrive?"
SHAPE = (
    "The last axis of x is K, whatever comes before it, and there may be no token at all. What does your code assume?"
)
LAST = "Where is the threshold kept: in each layer, or in one place for all layers?"


@pytest.fixture(scope="module")
def text(seed):
    return some_text(WINDOWS, torch.Generator().manual_seed(seed))


def some_columns(k, count, rng):
    """So many of k columns, the first only where all are wanted: it decides every scale."""
    return list(range(k)) if count == k else (1 + torch.randperm(k - 1, generator=rng)[:count]).tolist()


def some_x(lead, k, outliers, rng, threshold=6.0):
    """Activations far from the threshold: in each of the outlier columns one token or more is above it."""
    size = threshold or 1.0  # where the threshold is 0, every column has outliers
    x = oracle.away_from_ties((*lead, k), size / 2 / 127, rng)  # token 0 reaches half the threshold
    x.view(-1, k)[1:] /= 2 ** torch.randint(
        4, (x[..., 0].numel() - 1, 1), generator=rng
    )  # the others have other scales
    for column in outliers:
        flat = x.view(-1, k)[:, column]
        some = torch.rand(len(flat), generator=rng) < 0.15
        some[int(torch.randint(len(flat), (), generator=rng))] = True
        sign = 1.0 - 2 * torch.randint(0, 2, flat.shape, generator=rng)
        flat[some] = (sign * size * (1.5 + 30 * torch.rand(len(flat), generator=rng) ** 3))[some]
    return x


def near_the_default(shape, rng):
    """(x, column): 5.4 is the largest of every token, but for a 6.5 in one column of one of them."""
    x = oracle.away_from_ties(shape, 5.4 / 127, rng)
    (column,) = some_columns(shape[-1], 1, rng)
    x.view(-1, shape[-1])[-1, column] = 6.5
    return x, column


def some_linear(n, k, outliers, rng, bias=True):
    """A Linear whose weight is small where x is large, too small for an int8 code of its row."""
    linear = nn.Linear(k, n, bias=bias)
    w = oracle.away_from_ties((n, k), 1e-3, rng) * (torch.rand(n, 1, generator=rng) + 0.5)
    w[:, outliers] *= 0.02
    linear.weight.data = w
    if bias:
        linear.bias.data = torch.randn(n, generator=rng)
    return linear


def mixed_oracle(linear, x, outliers):
    """(want, allowed) in float64: one part in exact integers, the other in floating point."""
    inner = torch.ones(x.shape[-1], dtype=torch.bool)
    inner[outliers] = False
    w, x = oracle.exact(linear.weight), oracle.exact(x)
    w_steps = oracle.channel_scales(linear.weight, 8, 0)
    x_in = x[..., inner]
    largest = x_in.abs().amax(dim=-1, keepdim=True) if inner.any() else torch.zeros(*x.shape[:-1], 1).double()
    x_steps = torch.where(largest > 0, largest / 127, 1.0)
    codes, w_codes = (x_in / x_steps).round(), (w / w_steps).round()[:, inner]
    want = codes @ w_codes.t() * x_steps * w_steps.flatten() + x[..., ~inner] @ w[:, ~inner].t()
    allowed = codes.abs() @ w_codes.abs().t() * x_steps * w_steps.flatten() * oracle.PRODUCT
    allowed = allowed + x[..., ~inner].abs() @ w[:, ~inner].abs().t() * oracle.FLOAT_PART + want.abs() * oracle.PRODUCT
    if linear.bias is not None:
        bias = linear.bias.detach().double()
        want, allowed = want + bias, allowed + bias.abs() * oracle.PRODUCT
    return want, allowed


@pytest.mark.points(1)
@pytest.mark.parametrize("threshold", [6.0, 0.5, 20.0, 0.0], ids=lambda value: f"threshold {value}")
@pytest.mark.parametrize("lead", [(9,), (2, 5), ()], ids=lambda lead: f"x {(*lead, 40)}")
def test_a_column_is_an_outlier_if_any_token_says_so(student, rng, lead, threshold):
    """A column is an outlier if any token reaches the threshold there."""
    for count in (8, 0, 40) if threshold else (40,):
        outliers = some_columns(40, count, rng)
        x = some_x(lead, 40, outliers, rng, threshold)
        called = f"outlier_columns(x, {threshold}), {count} outlier columns of 40"
        check_columns(student.outlier_columns(x, threshold), x, threshold, called)
        check_unchanged(x, student.view(x), called)


def columns_of(x, threshold):
    """The outlier columns of x, by their numbers."""
    return (x.abs() >= threshold).reshape(-1, x.shape[-1]).any(dim=0).nonzero().flatten().tolist()


def check_columns(got, x, threshold, called, think=ANY):
    """What outlier_columns returned are the outlier columns of x."""
    got = check_tensor(got, called, x.shape[-1:], torch.bool, think)
    want = torch.zeros(x.shape[-1], dtype=torch.bool)
    want[columns_of(x, threshold)] = True
    wrong = (got != want).nonzero().flatten()
    if len(wrong):
        k = int(wrong[0])
        column = x[..., k].flatten()
        found = f"{bool(got[k])} for column {k}, values {describe(column)} ({len(wrong)} of {len(got)} differ)"
        fail(called, found, bool(want[k]), think)


@pytest.mark.points(1)
@pytest.mark.parametrize("bias", [True, False], ids=["bias", "no bias"])
@pytest.mark.parametrize("lead", [(7,), (2, 4), ()], ids=lambda lead: f"x {(*lead, 96)}")
def test_two_parts_make_the_product(student, rng, lead, bias):
    """Outlier columns in float and all others in int8 make the product."""
    for threshold, count in ((6.0, 3), (0.5, 7)):
        outliers = some_columns(96, count, rng)
        linear = some_linear(24, 96, outliers, rng, bias)
        called = f"mixed_int8_linear(linear, {threshold})"
        layer = check_module(student.mixed_int8_linear(linear, threshold), called)
        x = some_x(lead, 96, outliers, rng, threshold)
        called = f"{called}(x), {count} outlier columns of 96"
        got = check_tensor(layer(x), called, (*lead, 24), torch.float32)
        want, allowed = mixed_oracle(linear, x, outliers)
        oracle.check_close(got, want, allowed, called, PARTS, THINK)
        check_unchanged(x, student.view(x), called)
        mine = student.view(linear)
        same = isinstance(mine, nn.Linear) and torch.equal(mine.weight, linear.weight)
        if not same:
            fail(called, "another linear", "the linear itself as it was")


def _large_and_small_columns(student, rng):
    """Outlier columns of different sizes keep their digits, and so do their weights."""
    linear = some_linear(24, 64, [], rng, bias=False)
    linear.weight.data[:, 5] /= 1000  # small where x is largest
    layer = check_module(student.mixed_int8_linear(linear), "mixed_int8_linear(linear)")
    x = some_x((6,), 64, [], rng)
    x[:, 5], x[:, 20] = 640 * (1 + torch.rand(6, generator=rng)), -8 * (1 + torch.rand(6, generator=rng))
    called = "mixed_int8_linear(linear)(x), outlier columns of size 1000 and 10"
    got = check_tensor(layer(x), called, (6, 24), torch.float32)
    think = "Are the outlier columns, and the columns of the weight that belong to them, rounded to int8 after all?"
    oracle.check_close(got, *mixed_oracle(linear, x, [5, 20]), called, PARTS, think)


def _a_threshold_of_0(student, rng):
    """With a threshold of 0 every column is in float."""
    linear = some_linear(24, 64, [], rng, bias=False)
    linear.weight.data[:, 5] /= 1000
    layer = check_module(student.mixed_int8_linear(linear, 0.0), "mixed_int8_linear(linear, 0.0)")
    x = 0.01 * torch.randn(6, 64, generator=rng)
    x[:, 5] = 5  # in int8 all others would be 0
    called = "mixed_int8_linear(linear, 0.0)(x), every |x| below 6"
    got = check_tensor(layer(x), called, (6, 24), torch.float32)
    think = "Which |x| are >= 0, and what does `threshold or 6.0` make of 0.0?"
    oracle.check_close(got, *mixed_oracle(linear, x, list(range(64))), called, "all columns in float", think)


@pytest.mark.points(1)
@laws(_large_and_small_columns, _a_threshold_of_0)
def test_outlier_columns_are_in_floating_point(student, rng, law):
    """Outlier columns are multiplied in floating point."""
    law(student, rng)


@pytest.mark.points(1)
def test_the_default_threshold_is_six(student, rng):
    """The default threshold is 6.0."""
    for lead in ((9,), (2, 5), ()):
        x, column = near_the_default((*lead, 40), rng)
        called = "outlier_columns(x), the largest of every column below 5.5, but for one of 6.5"
        got = check_tensor(student.outlier_columns(x), called, (40,), torch.bool)
        found = got.nonzero().flatten().tolist()
        if found != [column]:
            got = f"columns {found}" if len(found) < 4 else f"{len(found)} columns"
            fail(called, got, f"column {column} alone: 6.0 is the default", DEFAULT)
    linear = some_linear(16, 64, [], rng)
    x, column = near_the_default((6, 64), rng)
    called = "mixed_int8_linear(linear)"
    layer = check_module(student.mixed_int8_linear(linear), called)
    called = f"{called}(x), one value of 6.5 and all others below 5.5, by the default of 6.0"
    got = check_tensor(layer(x), called, (6, 16), torch.float32)
    oracle.check_close(got, *mixed_oracle(linear, x, [column]), called, PARTS, DEFAULT)


def _columns_of_this_call(student, rng):
    """The outlier columns are those of the call, whichever the call before had."""
    linear = some_linear(16, 64, [], rng)
    layer = check_module(student.mixed_int8_linear(linear), "mixed_int8_linear(linear)")
    think = "Does anything stay from the call before, and what is there to multiply where no column is left?"
    for count in (0, 2, 64, 5, 0):
        outliers = some_columns(64, count, rng)
        x = some_x((6,), 64, outliers, rng)
        called = f"mixed_int8_linear(linear)(x), {count} outlier columns of 64"
        got = check_tensor(layer(x), called, (6, 16), torch.float32)
        oracle.check_close(got, *mixed_oracle(linear, x, outliers), called, PARTS, think)


def _tokens_of_every_size(student, rng):
    """Tokens down to a size of 1e-30, and tokens of zeros, have scales of their own."""
    linear = some_linear(16, 64, [], rng, bias=False)
    layer = check_module(student.mixed_int8_linear(linear), "mixed_int8_linear(linear)")
    x = some_x((6,), 64, [], rng) * torch.tensor([1.0, 0.0, 1e-10, 1e-30, 1e-3, 1.0])[:, None]
    called = "mixed_int8_linear(linear)(x), tokens of size 3 down to 1e-30, and one of zeros"
    got = check_tensor(layer(x), called, (6, 16), torch.float32)
    think = "What is the scale of the token that holds this value? Is anything absolute added to a scale, such as 1e-8?"
    oracle.check_close(got, *mixed_oracle(linear, x, []), called, "in int8, by the token's own scale", think)
    linear = some_linear(16, 64, [], rng)
    layer = check_module(student.mixed_int8_linear(linear), "mixed_int8_linear(linear)")
    called = "mixed_int8_linear(linear)(x), x all zeros"
    got = check_tensor(layer(torch.zeros(2, 64)), called, (2, 16), torch.float32)
    think = "What is 0 / 0, and what does a Linear return where x is 0?"
    oracle.check_close(got, *mixed_oracle(linear, torch.zeros(2, 64), []), called, "the bias", think)


@pytest.mark.points(1)
@laws(_columns_of_this_call, _tokens_of_every_size)
def test_each_call_has_columns_of_its_own(student, rng, law):
    """Each call has outlier columns of its own, and each token a scale of its own."""
    law(student, rng)


def _columns_depend_on_x_alone(student, rng):
    """Outlier columns depend on the values of x alone."""
    xs = [some_x((3, 4), 40, some_columns(40, count, rng), rng) for count in (5, 9)]
    called = "outlier_columns(x, 6.0)"
    for what, (x, _) in leading_shapes(xs[0]).items():
        check_columns(student.outlier_columns(x, 6.0), x, 6.0, f"{called}, {what}", SHAPE)
    for what, x in layouts(xs[0]).items():
        check_columns(student.outlier_columns(x, 6.0), x, 6.0, f"{called}, {what}", ORDER)

    def check(got, arguments, called, think):
        check_columns(got, *arguments, called, think)

    check_function(student, "outlier_columns", [(x, 6.0) for x in xs], check, called)


def _a_layer_depends_on_x_alone(student, rng):
    """A layer's output depends on the values of x, on its own weight and on its own threshold alone."""
    outliers = some_columns(64, 5, rng)
    linear = some_linear(16, 64, outliers, rng)
    called = "mixed_int8_linear(linear, 6.0)"
    layer = check_module(student.mixed_int8_linear(linear, 6.0), called)
    x, other = some_x((3, 4), 64, outliers, rng), some_x((3, 4), 64, some_columns(64, 3, rng), rng)

    def check(got, arguments, called, think):
        (x,) = arguments
        got = check_tensor(got, called, (*x.shape[:-1], 16), torch.float32, think)
        oracle.check_close(got, *mixed_oracle(linear, x, columns_of(x, 6.0)), called, PARTS, think)

    for what, (part, _) in leading_shapes(x).items():
        check(layer(part), (part,), f"{called}(x), {what}", SHAPE)
    for what, part in layouts(x).items():
        check(layer(part), (part,), f"{called}(x), x {what}", ORDER)
    check_function(student, layer, [(x,), (other,)], check, called)
    student.mixed_int8_linear(some_linear(16, 64, [], rng), 0.5)
    check(layer(x), (x,), f"{called}(x), after a layer with a threshold of 0.5 was made", LAST)


@pytest.mark.points(1)
@laws(_columns_depend_on_x_alone, _a_layer_depends_on_x_alone)
def test_answers_depend_on_values_alone(student, rng, law):
    """Answers depend on values alone, not on earlier calls or on the order in memory."""
    law(student, rng)


def kept_weight(student, rng):
    """A Linear that is small in column 3, and the layer made of it."""
    linear = some_linear(48, 80, [3], rng, bias=False)
    return linear, check_module(student.mixed_int8_linear(linear), "mixed_int8_linear(linear)")


def _the_state_dict_holds_the_codes(student, rng):
    """The state dict holds an int8 code for every weight."""
    linear, layer = kept_weight(student, rng)
    check_int8_weights(layer, linear, "mixed_int8_linear(linear)")


def _the_codes_are_the_nearest(student, rng):
    """The codes are the nearest ones, with a scale for each output channel."""
    linear, layer = kept_weight(student, rng)
    scales = oracle.channel_scales(linear.weight, 8, 0)
    codes = [t for t in tensors(layer.state_dict()) if t.dtype == torch.int8]
    if codes and codes[0].shape in ((48, 80), (80, 48)):  # other layouts are allowed, and cannot be read here
        upright = codes[0] if codes[0].shape == (48, 80) else codes[0].t()
        think = "Is there a scale for each output channel, and which axis of the weight is that?"
        usual = torch.ones(80, dtype=torch.bool)
        usual[3] = False  # an answer that never multiplies with the codes of this column may store anything there
        w, upright = linear.weight[:, usual], upright[:, usual]
        oracle.check_codes(upright, w, scales, 8, "mixed_int8_linear(linear).state_dict(), codes", think)


def _the_layer_multiplies_with_them(student, rng):
    """The layer multiplies with these codes."""
    linear, layer = kept_weight(student, rng)
    x, called = some_x((5,), 80, [3], rng), "mixed_int8_linear(linear)(x)"
    got = check_tensor(layer(x), called, (5, 48), torch.float32)
    oracle.check_close(got, *mixed_oracle(linear, x, [3]), called, PARTS, THINK)


@pytest.mark.points(1)
@laws(_the_state_dict_holds_the_codes, _the_codes_are_the_nearest, _the_layer_multiplies_with_them)
def test_the_weight_is_there_in_int8(student, rng, law):
    """The weight is kept in int8."""
    law(student, rng)


def plain_int8(linear, x):
    """What ex05 computes: every token with one scale over all of its columns."""
    steps = oracle.channel_scales(x.flatten(0, -2), 8, 0).view(*x.shape[:-1], 1)
    return linear((x.double() / steps).round().mul(steps).float())


class Plain(nn.Module):
    def __init__(self, linear):
        super().__init__()
        self.linear = CodesLinear(linear)

    def forward(self, x):
        return plain_int8(self.linear, x)


class Counted(Inserted):
    """Also counts how many columns of all are outliers."""

    def __init__(self, layer, linear, called, threshold, counts):
        super().__init__(layer, linear, called)
        self.threshold, self.counts = threshold, counts

    def forward(self, x):
        self.counts.append(((x.abs() >= self.threshold).flatten(0, -2).any(dim=0).sum().item(), x.shape[-1]))
        return super().forward(x)


def mixed_gpt(student, gpt, threshold, counts):
    called = f"mixed_int8_linear(linear, {threshold})"

    def make(name, linear):
        layer = check_module(student.mixed_int8_linear(linear, threshold), called)
        check_int8_weights(layer, linear, called)
        return Counted(layer, linear, called, threshold, counts)

    return with_layers(gpt, make)


@pytest.mark.points(2)
@pytest.mark.slow("outlier_columns", "mixed_int8_linear")
@pytest.mark.timeout(300)
def test_a_gpt_with_outliers_survives(student, rng, text, measured, progress):
    """A GPT with outliers survives."""
    seed = int(torch.randint(1000, (), generator=rng))
    gpt, counts = with_outliers(load_gpt(), 3, 100.0, seed=seed), []
    mixed, before = mixed_gpt(student, gpt, THRESHOLD, counts), window_nats(gpt, text)
    progress("plain int8 and PyTorch's own")
    plain = drift(window_nats(with_layers(gpt, lambda _, linear: Plain(linear)), text), before)
    dynamic = drift(window_nats(torch_dynamic(gpt), text), before)
    progress("yours")
    after = window_nats(mixed, text)
    change, share = drift(after, before), sum(c for c, _ in counts) / sum(of for _, of in counts)
    measured |= {
        "drift with outliers, mixed": change,
        "drift with outliers, int8": plain,
        "drift with outliers, quantize_dynamic": dynamic,
        "share of columns in float": share,
    }
    if not (plain > oracle.BROKEN and share < oracle.FEW_COLUMNS):
        raise SuiteError(f"this GPT has no outliers: drift {plain:.2%} in plain int8, {share:.2%} outlier columns")
    called = f"the GPT with outliers, of mixed_int8_linear(linear, {THRESHOLD})"
    check_no_drift(change, called, f" (plain int8: {plain:+.1%}, PyTorch's own: {dynamic:+.1%})")


@pytest.mark.points(1)
@pytest.mark.slow("outlier_columns", "mixed_int8_linear")
@pytest.mark.timeout(300)
def test_it_costs_a_gpt_without_outliers_nothing(student, text, measured):
    """A GPT without outliers loses nothing."""
    gpt = load_gpt()
    change = drift(window_nats(mixed_gpt(student, gpt, THRESHOLD, []), text), window_nats(gpt, text))
    measured["drift without outliers, mixed"] = change
    check_no_drift(change, f"the GPT as trained, of mixed_int8_linear(linear, {THRESHOLD})")


def check_no_drift(change, called, others=""):
    if not abs(change) < oracle.NO_DRIFT:
        fail(called, f"a drift of {change:+.2%}", f"less than {percent(oracle.NO_DRIFT)} either way{others}", THINK)
