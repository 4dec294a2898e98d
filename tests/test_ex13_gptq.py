"""ex13: columns that are not rounded yet make up for errors of those before, by the Hessian of a calibration set."""

import time
from functools import partial

import pytest
import torch

from llm.checkpoint import load_gpt
from llm.corpus import calibration_tokens
from llm.evaluate import window_nats
from llm.linears import with_weights
from tests import oracle
from tests.gpt import drift, hessians, some_text, to_nearest
from tests.laws import laws
from tests.messages import check_default, check_pair, check_tensor, check_unchanged, check_value_errors, describe, fail
from tests.values_alone import ORDER, check_function, layouts

WINDOWS, CALIBRATION = 16, 24
COMPENSATE = "Which columns make up for the error of a rounded one, in which proportion, and are they rounded later?"


def correlated(n, k, rng, factors=6):
    """(n, k) activations that a few hidden factors decide, beside noise: their columns go together."""
    mixed = torch.randn(n, factors, generator=rng) @ torch.randn(factors, k, generator=rng)
    return mixed + 0.3 * torch.randn(n, k, generator=rng)


def hessian_of(x):
    x = x.reshape(-1, x.shape[-1]).double()
    return (2 / len(x) * x.t() @ x).float()


def loss(w, weight, h):
    """Mean over rows of (w' - w) H (w' - w)^T / 2: the mean square error of an output."""
    error = weight - oracle.exact(w)
    return ((error @ h.double()) * error).sum().item() / 2 / len(w)


def gptq_oracle(w, h, bits, damp=0.01):
    """(N, K) float64 by OBQ's own steps (GPTQ's equations 2 and 3): a column leaves the inverse once it is rounded."""
    steps = oracle.channel_scales(w, bits, 0)[:, 0]
    left, h = oracle.exact(w).clone(), h.double().clone()
    h.diagonal()[h.diagonal() == 0] = 1
    inverse = torch.linalg.inv(h + damp * h.diagonal().mean() * torch.eye(len(h)))
    for k in range(w.shape[1]):
        code = (left[:, k] / steps).round().clamp(-oracle.qmax(bits), oracle.qmax(bits))
        error = (left[:, k] - code * steps) / inverse[0, 0]
        left[:, k + 1 :] -= error[:, None] * inverse[0, 1:]
        left[:, k] = code * steps
        inverse = inverse[1:, 1:] - torch.outer(inverse[1:, 0], inverse[0, 1:]) / inverse[0, 0]
    return left


def quantized(student, called, w, h, bits, *damp):
    """(q, weight) of gptq_quantize: the codes, and the weight that they stand for in float64."""
    return checked(student.gptq_quantize(w, h, bits, *damp), called, w, bits)


def checked(result, called, w, bits):
    """The same of a result, once it is a pair of codes on the grid and the scales of w."""
    result = check_pair(result, called, "(q, scales)")
    q = check_tensor(result[0], f"{called}[0]", tuple(w.shape), torch.int8)
    scales = check_tensor(result[1], f"{called}[1]", (len(w), 1), torch.float32)
    limit = oracle.qmax(bits)
    if not q.double().abs().max() <= limit:
        think = "An update may push a weight beyond the last code of the grid. Which code does it get then?"
        fail(called, describe(q), f"codes in [{-limit}, {limit}]", think)
    think = "Of which weight are the scales, and when are they fixed: before the first column is rounded, or after?"
    positive = scales[oracle.exact(w).abs().amax(dim=1, keepdim=True) > 0]
    want = oracle.channel_scales(w, bits, 0)[oracle.exact(w).abs().amax(dim=1, keepdim=True) > 0]
    oracle.check_scales(positive, want, w, f"{called}, scales", think)
    return q, q.double() * scales.double()


def check_hessian(got, x, called, think):
    check_tensor(got, called, (12, 12), torch.float32)
    flat = oracle.exact(x).reshape(-1, 12)
    want, allowed = 2 / len(flat) * flat.t() @ flat, 2 / len(flat) * flat.abs().t() @ flat.abs() * oracle.HESSIAN
    if x.dtype != torch.float32 and (got.double() - want).norm() < 0.01 * want.norm():
        think = oracle.PRECISION
    oracle.check_close(got, want, allowed, called, "2 X^T X / n", think)


def _n_is_the_number_of_tokens(student, rng):
    """The Hessian is 2 X^T X / n, and n is the number of tokens."""
    for lead in ((50,), (4, 9), (2, 3, 4), (1,), ()):
        for dtype in (torch.float32, torch.float16, torch.float64):
            x = (torch.randn(*lead, 12, generator=rng) + torch.randn(12, generator=rng)).to(dtype)
            called = f"hessian(x), x {str(dtype).removeprefix('torch.')} {tuple(x.shape)}"
            check_hessian(student.hessian(x), x, called, "Is n the number of tokens, whatever the shape of x?")
            check_unchanged(x, student.view(x), called)


def _hessian_of_values_alone(student, rng):
    """The Hessian depends on the values of x alone."""
    x, other = torch.randn(2, 4, 9, 12, generator=rng)
    for what, turned in layouts(x).items():
        check_hessian(student.hessian(turned), x, f"hessian(x), x {what}", ORDER)
    check_function(
        student,
        "hessian",
        [(x,), (other,)],
        lambda got, arguments, called, think: check_hessian(got, *arguments, called, think),
        "hessian(x)",
    )


@pytest.mark.points(1)
@laws(_n_is_the_number_of_tokens, _hessian_of_values_alone)
def test_the_hessian_is_twice_the_mean_of_products(student, rng, law):
    """The Hessian is 2 X^T X / n."""
    law(student, rng)


def uncorrelated(bits, rng):
    """Weights of every precision, each with a diagonal Hessian, and what is called."""
    sizes = [(24, 40, torch.float32), (8, 300, torch.float32), (8, 40, torch.float16), (8, 40, torch.float64)]
    sizes += [(1, 40, torch.float32), (3, 1, torch.float32)]
    for n, k, dtype in sizes:
        w = oracle.away_from_ties((n, k), 0.01, rng, bits) * (0.5 + torch.rand(n, 1, generator=rng))
        h = torch.diag(torch.rand(k, generator=rng) * 10 ** (2 * torch.rand(k, generator=rng)) + 0.01)
        name = str(dtype).removeprefix("torch.")
        yield w.to(dtype), h, f"gptq_quantize(w, h, {bits}), w {name} ({n}, {k}), h diagonal"


@pytest.mark.points(1)
@pytest.mark.parametrize("bits", [4, 3, 2, 8], ids=lambda bits: f"int{bits}")
def test_without_correlations_it_is_rounding_to_nearest(student, rng, bits):
    """Without correlations between columns it is rounding to nearest."""
    for w, h, called in uncorrelated(bits, rng):
        q, _ = quantized(student, called, w, h, bits)
        think = "Which column could make up for the error of another, if no two of them are correlated?"
        oracle.check_codes(q, w, oracle.channel_scales(w, bits, 0), bits, f"{called}, codes", think)


def some_problem(n, k, rng):
    """(w, h) of a weight (n, k) whose columns are correlated."""
    return torch.randn(n, k, generator=rng), hessian_of(correlated(4 * k, k, rng))


def _errors_are_made_up_for(student, rng):
    """Correlated columns make up for the errors of those before them."""
    for n, k in ((32, 48), (16, 200)):
        for bits in (4, 3, 2):
            problems = [some_problem(n, k, rng) for _ in range(240 // k + 1)]
            called = f"gptq_quantize(w, h, {bits}), w ({n}, {k}), columns correlated"
            check_losses([quantized(student, called, w, h, bits)[1] for w, h in problems], problems, bits, called)


def _weights_of_every_size(student, rng):
    """Weights may be very small or very large."""
    for size in (1e-30, 1e36):
        problems = [some_problem(32, 48, rng) for _ in range(6)]
        problems = [(w * size, h) for w, h in problems]
        called = f"gptq_quantize(w, h, 4), w (32, 48) of size {size:g}, columns correlated"
        weights = [quantized(student, called, w, h, 4)[1] for w, h in problems]
        check_losses(weights, problems, 4, called, think=oracle.ABSOLUTE)


def _rows_of_equal_weights(student, rng):
    """Rows whose weights are all equal are rounded like others."""
    problems = [some_problem(32, 48, rng) for _ in range(6)]
    for w, _ in problems:
        w[0], w[1] = 0.7, -0.7
    called = "gptq_quantize(w, h, 4), two rows of w with all weights equal, columns correlated"
    check_losses([quantized(student, called, w, h, 4)[1] for w, h in problems], problems, 4, called)


def _codes_of_values_alone(student, rng):
    """Codes and scales depend on the values of w and h alone."""
    problems = [some_problem(32, 48, rng) for _ in range(6)]
    orders = layouts(problems[0][0])
    for what in orders:
        called = f"gptq_quantize(w, h, 4), w and h {what}"
        turned = [(layouts(w)[what], layouts(h)[what]) for w, h in problems]
        weights = [quantized(student, called, w, h, 4)[1] for w, h in turned]
        check_losses(weights, problems, 4, called, think=ORDER)

    def check(result, arguments, called, think):
        w, h, bits = arguments
        _, weight = checked(result, called, w, bits)
        check_losses([weight], [(w, h)], bits, called, think=think, slack=oracle.GPTQ_ONE_PROBLEM)

    calls = [(*some_problem(32, 200, rng), 4) for _ in range(2)]
    check_function(student, "gptq_quantize", calls, check, "gptq_quantize(w, h, 4)")


@pytest.mark.points(2)
@laws(_errors_are_made_up_for, _weights_of_every_size, _rows_of_equal_weights, _codes_of_values_alone)
def test_correlated_columns_make_up_for_errors(student, rng, law):
    """Correlated columns make up for the errors of those before them."""
    law(student, rng)


@pytest.mark.points(1)
@pytest.mark.parametrize("bits", [4, 3, 2, 8], ids=lambda bits: f"int{bits}")
def test_the_weight_and_the_hessian_stay_as_they_were(student, rng, bits):
    """The weight and the Hessian that the call got stay as they were."""
    calls = list(uncorrelated(bits, rng))
    for n, k in ((32, 48), (16, 200)):
        calls.append((*some_problem(n, k, rng), f"gptq_quantize(w, h, {bits}), w ({n}, {k}), columns correlated"))
    for w, h, called in calls:
        quantized(student, called, w, h, bits)
        check_unchanged(w, student.view(w), called)
        check_unchanged(h, student.view(h), called)


def check_losses(weights, problems, bits, called, damp=0.01, think=COMPENSATE, slack=oracle.GPTQ_SLACK):
    """The outputs of all problems together are about as close as the oracle's."""
    got = sum(loss(w, weight, h) for weight, (w, h) in zip(weights, problems, strict=True)) / len(problems)
    usual = sum(loss(w, oracle.round_trip(w, bits, 0), h) for w, h in problems) / len(problems)
    best = sum(loss(w, gptq_oracle(w, h, bits, damp), h) for w, h in problems) / len(problems)
    if not got <= best * slack:
        fail(
            called,
            f"a mean square error of the output of {got:.4g}",
            f"at most {best * slack:.4g} (round to nearest: {usual:.4g}, GPTQ: {best:.4g})",
            think,
        )


SINGULAR = {
    "four features of x always 0": lambda x: x * (torch.arange(60) % 17 != 7),
    "fewer tokens than features": lambda x: x[:20],
    "20 tokens, whose features add up to 0": lambda x: x[:20] - x[:20].mean(dim=1, keepdim=True),
    "x all 0": lambda x: x * 0,
    "two features alike": lambda x: x[:, [*range(59), 0]],
    "x of size 1e-3": lambda x: x * 1e-3,
}


@pytest.mark.points(1)
@pytest.mark.parametrize("what", SINGULAR)
def test_dead_columns_and_singular_hessians(student, rng, what):
    """Dead columns, rows of zeros and singular Hessians do no harm."""
    problems = []
    for _ in range(4):
        x = SINGULAR[what](correlated(400, 60, rng))
        problems.append((torch.randn(16, 60, generator=rng), hessian_of(x)))
    called = f"gptq_quantize(w, h, 4), {what}"
    check_losses([quantized(student, called, w, h, 4)[1] for w, h in problems], problems, 4, called)
    rows, h = problems[0]
    rows[3] = 0
    q, _ = quantized(student, f"{called}, w with a row of zeros", rows, h, 4)
    if q[3].any():
        fail(f"{called}, w with a row of zeros", f"codes {describe(q[3])} for it", "codes 0")


def _damp_arrives(student, rng):
    """With so much damping that correlations no longer count, it is rounding to nearest."""
    heavy, h = 1e6, hessian_of(correlated(400, 60, rng))  # what couples columns is nothing beside such a diagonal
    called = f"gptq_quantize(w, h, 4, damp={heavy:g})"
    w = oracle.away_from_ties((16, 60), 0.01, rng, 4)
    q, _ = quantized(student, called, w, h, 4, heavy)
    oracle.check_codes(q, w, oracle.channel_scales(w, 4, 0), 4, f"{called}, codes", "Does damp arrive, and where?")


def _damp_times_the_mean_is_added_to_the_diagonal(student, rng):
    """damp times the mean of the diagonal is added to the diagonal, and nowhere else."""
    h, damp = torch.tensor([[3.0, 1.5, 0.0], [1.5, 1.2, 0.0], [0.0, 0.0, 2.1]]), 0.5
    w = oracle.away_from_ties((4096, 3), 0.01, rng, 4).flip(1)  # the largest of a row is in the column without company
    w[:, :2] *= 0.8
    steps = oracle.channel_scales(w, 4, 0)
    orders = []  # what the column that comes second makes up for, in steps, if column 0 comes first, or column 1
    for first, second in ((0, 1), (1, 0)):
        ratio = oracle.exact(w) / steps
        error = ratio[:, first] - ratio[:, first].round()
        ratio[:, second] += error * h[0, 1] / (h[second, second] + damp * 2.1)
        orders.append(ratio)
    clear = torch.stack([(r - r.floor() - 0.5).abs().amin(dim=1) > 1e-3 for r in orders]).all(dim=0)
    w, orders = w[clear], [r[clear].round().clamp(-7, 7) for r in orders]
    called = f"gptq_quantize(w, h, 4, damp={damp}), h (3, 3)"
    q, _ = quantized(student, called, w, h, 4, damp)
    wrong = ~((q == orders[0]).all(dim=1) | (q == orders[1]).all(dim=1))
    if wrong.any():
        i = int(wrong.nonzero()[0])
        got = f"codes {q[i].tolist()} in row {i} ({int(wrong.sum())} of {len(q)} rows differ)"
        want = f"codes {orders[0][i].int().tolist()}, or {orders[1][i].int().tolist()} if column 1 comes first"
        fail(called, got, want, "Of what is damp a fraction, and to which entries of h is it added?")


def _damp_is_a_hundredth_unless_told(student, rng):
    """Without damp in the call, damp is 0.01."""
    w, h = torch.randn(16, 60, generator=rng), hessian_of(correlated(40, 60, rng))
    q, _ = quantized(student, "gptq_quantize(w, h, 4)", w, h, 4)
    same, _ = quantized(student, "gptq_quantize(w, h, 4, 0.01)", w, h, 4, 0.01)
    differ = (q != same).double().mean()
    check_default(bool(differ < 0.01), "gptq_quantize(w, h, 4)", "damp=0.01")


def _damp_is_a_fraction_of_the_mean_diagonal(student, rng):
    """Damping adds to each column the same fraction of the mean of the diagonal."""
    problems = []
    for _ in range(4):  # eight columns 100 times as large as all others: beside theirs, the mean diagonal is small
        x, large = torch.randn(512, 256, generator=rng), torch.randperm(256, generator=rng)[:8]
        x[:, large] = 100 * (torch.randn(512, 1, generator=rng) + 0.02 * x[:, large])
        problems.append((torch.randn(16, 256, generator=rng), hessian_of(x)))
    called = "gptq_quantize(w, h, 4, damp=5), 8 of 256 columns large and alike"
    weights = [quantized(student, called, w, h, 4, 5.0)[1] for w, h in problems]
    check_losses(weights, problems, 4, called, 5.0, "Of what is damp a fraction, and to which columns is it added?")


@pytest.mark.points(1)
@laws(
    _damp_arrives,
    _damp_is_a_hundredth_unless_told,
    _damp_times_the_mean_is_added_to_the_diagonal,
    _damp_is_a_fraction_of_the_mean_diagonal,
)
def test_damping_is_what_the_call_says(student, rng, law):
    """Damping is what the call says."""
    law(student, rng)


@pytest.mark.points(1)
def test_bad_weights_and_widths_are_a_value_error(student, rng):
    """Empty or non-finite weights and widths outside 2 to 8 are a ValueError."""
    w, h = torch.randn(4, 16, generator=rng), torch.eye(16)
    hole = w.clone()
    hole[2, 5] = float("nan")
    bad = {f"gptq_quantize(w, h, {bits})": (w, h, bits) for bits in (1, 0, 9)}
    bad["gptq_quantize(w, h, 4), w with nan"] = hole, h, 4
    bad["gptq_quantize(w, h, 4), w is empty"] = w[:0], h, 4
    good = {f"gptq_quantize(w, h, {bits})": partial(student.gptq_quantize, w, h, bits) for bits in (2, 8)}
    check_value_errors({called: partial(student.gptq_quantize, *args) for called, args in bad.items()}, good)


@pytest.fixture(scope="module")
def bed(seed):
    """The GPT, the Hessians of its Linears, held-out text, and the nats of that."""
    gpt, text = load_gpt(), some_text(WINDOWS, torch.Generator().manual_seed(seed))
    return gpt, hessians(gpt, calibration_tokens(CALIBRATION)), text, window_nats(gpt, text)


def plain_seconds(weights):
    """How long the lesson's steps take here and now for these weights, as they stand there."""
    began = time.monotonic()
    for weight in weights:
        w, columns = weight.clone(), weight.shape[1]
        factor = torch.rand(columns, columns).t()  # column after column in memory, as PyTorch's upper Cholesky factor
        for k in range(columns):
            w[:, k:] -= torch.outer(w[:, k] - w[:, k].round(), factor[k, k:])
    return time.monotonic() - began


@pytest.mark.points(2)
@pytest.mark.slow("gptq_quantize")
@pytest.mark.timeout(600)
@pytest.mark.parametrize("bits, share", oracle.RECOVERED.items(), ids=["int3", "int2"])
def test_the_gpt_gets_back_what_rounding_lost(student, request, measured, bits, share):
    """The GPT gets back most of what rounding to nearest loses."""
    quantized(student, f"gptq_quantize(w, h, {bits}), w (4, 4)", torch.eye(4), torch.eye(4), bits)  # no stub? go on
    gpt, hessian, text, before = request.getfixturevalue("bed")
    usual = drift(window_nats(to_nearest(gpt, bits), text), before)
    spent, plain, unmeasured = 0.0, 0.0, []
    progress = request.getfixturevalue("progress")

    def make(name, w):
        nonlocal spent, plain
        progress(f"gpt.{name}")
        began = time.monotonic()
        called = f"gptq_quantize(gpt.{name}.weight, h, {bits})"
        _, weight = quantized(student, called, w, hessian[name], bits)
        spent += time.monotonic() - began
        unmeasured.append(w)
        if spent > oracle.GPTQ_SECONDS:  # is it the machine, which may be slow or busy?
            plain += plain_seconds(unmeasured)
            unmeasured.clear()
            allowed = oracle.GPTQ_TIMES * plain
            if spent > allowed:
                think = "What is done for every row alone, or computed anew for every column?"
                expected = f"at most {allowed:.0f} s, {oracle.GPTQ_TIMES} times as long as the lesson's steps take here"
                fail(called, f"{spent:.0f} s up to this Linear", expected, think)
        return weight

    change = drift(window_nats(with_weights(gpt, make), text), before)
    measured |= {f"drift int{bits}, to nearest": usual, f"drift int{bits}, GPTQ": change}
    called = f"the GPT, of gptq_quantize(w, h, {bits})"
    expected = f"at most {usual * (1 - share):+.1%}: {share:.0%} less than rounding to nearest, {usual:+.1%}"
    if not change <= usual * (1 - share):
        fail(called, f"a drift of {change:+.1%}", expected, COMPENSATE)
    measured[f"seconds int{bits}"] = spent
