"""What is right, computed in float64 and independently of exercises and solutions.

Suites ask here and nowhere else; the tolerances of the contract stand in this one file.
"""

import numpy as np
import torch
from torch import Tensor

from tests.messages import at, fail

ROUNDING = "Rounding to nearest, cutting the fraction off and rounding down agree only on whole numbers."
ORDER = "More than a step off: what is done to a weight, and in which order, until it is a code?"
PRECISION = "In which precision do you compute?"
ABSOLUTE = "Is there a fixed number in your formula, such as + 1e-8 or clamp(min=1e-5)? What if all values are smaller?"
ZEROS = "What is 0 / 0, and which other values does it spoil?"
HALF_STEP = 1 + 2**-14  # the slack on s/2 that float32 arithmetic may take
NEAR_TIE = 1e-4  # within this of a tie, either neighbouring code is right
HALF = torch.finfo(torch.float16)
PRODUCT = 2**-20  # of the sum of the absolute contributions, for a float32 result of an integer product

# ex01, ex02
TINY = 1e-20  # a scale below: there something absolute, such as + 1e-8, is all that counts
CODE_TIMES_SCALE = 2**-22  # relative: the scale and the product are rounded to float32
RMS_OF_ROUNDING = 0.08  # relative to s / sqrt(12), for 16,384 errors: chance makes less than 2 % of it
MEAN_OF_ROUNDING = 0.03  # steps: of as many errors, chance makes less than 0.01
OTHER_ROWS = 0.01  # how much their error may grow when one row becomes huge

# ex03
OUTPUT_ERROR = 0.01  # relative: float32 sums of small errors that partly cancel
NO_ERROR = 2**-20  # of the sum of the absolute contributions: float32 scales of weights that lie on the grid
FORMULA = 1e-5  # relative: a few operations in float32
EXPONENT = 0.05  # of n, beside 1/2: 256 rows and nine sizes leave no more to chance
SAME_SIZE = 2.0  # a factor: the value itself is the subject of another test

# ex05
ROUNDED_TO_INT8 = 0.03  # relative error of all outputs together: weights and tokens to 8 bits make about 1 %
LIKELIEST = 0.9  # of a text's positions have the same likeliest token as with the float32 GPT

# ex06
PERPLEXITY = 1e-4  # relative: logits in float32 beside float64
PERPLEXITY_OF_GPT = 1e-3  # relative: batches of another size round the logits differently
DRIFT_FORMULA = 1e-5, 1e-7  # relative and absolute: before and after may be float32
DRIFT = 0.01  # of the perplexity, up or down, when the GPT's weights and tokens become int8

# ex07
FILE = 0.01, 4096  # of the bytes, and bytes more: how a file is put together differs a little
FILE_RATIO = 0.02  # relative: two of these files
GPT_FILE_RATIO = 0.01  # relative: of large files less is overhead
PREDICTED = 0.03  # relative: with the headers of a file, or without

# ex08, ex09
MEDIAN = 1e-6  # relative: float arithmetic on times that a suite's clock dictates
DYNAMIC = 0.1  # relative error of a small net's outputs: 7-bit activations with one scale a call stay below
LOGITS = 0.15  # the same of the GPT's logits
SMALLER = 2.8, 3.6  # how many times smaller the int8 GPT is: embeddings, scales and biases stay as they are
TWICE = 2.0  # times as fast as float32
LUCK = 0.01  # how likely so many rounds are won by chance, in a sign test
YARDSTICK = 2.3  # times as fast PyTorch's own int8 must be before a machine may judge a learner's
SLOWER = 0.9  # of the yardstick's speedup: below, it is worth a word that the yardstick is faster
BYTES_A_WEIGHT = 2.75  # a second int8 copy, laid out for speed, has room; one in half precision has none: 3 in all
PRINTED_SIZE = 0.0005  # relative: whole KB will do, KB of 1000 bytes will not
PRINTED_RATIO = 0.01  # relative: two decimals will do
ANY_TEXT = 0.7, 1.4  # perplexity on any 20,000 held-out tokens, over that on the checkpoint's card: texts differ
HONEST = 0.85, 1.9  # the same of the unseen GPT, over that on the first 20,000: on fewer it is below
DRIFT_OF_UNSEEN = 0.05  # relative: its perplexity is large, and moves more
INT8_FILE = 1.12  # times the bytes of codes, scales and float32 rest: half precision takes 1.29 times as many
SAME_SPEEDUP = 0.4, 2.5  # factors between two honest measurements on a shared machine
BUSY = 1.5  # a factor by which one float model differs from itself: on such a machine a speedup says nothing
SAME_LOGITS = 1e-4  # relative and absolute: one model in two processes

# ex10
HALF_ROUNDING = 2**-11  # how far a float16 may be from the number it stands for, relatively
EXTRA_BITS = 0.07  # a weight, of a state dict beside codes and scales: the odd byte at the end, a size kept as a tensor
EXTRA_BITS_IN_MEMORY = 0.2  # the same of all tensors that the layer keeps
UNPACKED = 1e-4  # of the largest weight: float32 arithmetic is far below, a code that is off by one far above
SWEEP = 0.02  # of the perplexity of a rounded GPT: what the contract leaves free, such as near-ties, moves it by less
SURVIVED, RUINED = 0.05, 1.0  # drift at 4 bits, drift at 2 bits: what the text has to show

# ex11
FLOAT_PART = 2**-6  # of the sum of the absolute contributions of columns in floating point: bfloat16 may serve
NO_DRIFT = 0.005  # of the perplexity, either way: what a method may cost that hardly rounds; ex14, too
BROKEN, FEW_COLUMNS = 0.05, 0.02  # drift in plain int8, share of outlier columns: what that GPT has to show

# ex12
MAGNITUDE = 1e-4  # relative, of a mean over tokens in float32
AWQ_SLACK = 1.3  # on our own search's error: other steps and normalizations come within 1.1, half the method does not
AWQ_NEAREST = 1.05  # on the error of rounding to nearest: a search may judge by scales of another precision
EQUAL_ERROR = 1e-4  # relative: an error that is the same as that of rounding to nearest
ONE_WEIGHT = 1e-4  # relative error of an output, in float32, against the layer's own weight
SAME_VALUE = 1e-4  # of the largest of a group: closer values stand for one code
SEVEN_BITS = 0.01  # relative error of an output that rounding to 7 bits in groups of 16 leaves
ROUNDED_AT_ALL = 1e-3  # of the error of rounding to nearest: below that, nothing was rounded to so few bits
AWQ_DRIFT = 1 / 3  # of the drift of rounding to nearest, at 4 bits
AWQ_SHARE = 0.6  # of what our own search gets back at 3 bits

# ex13
HESSIAN = 1e-5  # of the sum of the absolute contributions, in float32
GPTQ_SLACK = 1.6  # on our own error: another order of the columns is as good, over a few problems within 1.3
GPTQ_ONE_PROBLEM = 4.0  # the same for one problem: other orders come within 2, rounding to nearest is at 17 or above
RECOVERED = {3: 0.5, 2: 0.8}  # by width: the share of what rounding to nearest costs the GPT
GPTQ_SECONDS = 60  # for all Linears of the GPT, or on a slow or busy machine ...
GPTQ_TIMES = 5  # ... so many times as long as the lesson's steps take there, one column after the other

# ex14
HALF_SCALE = 127 * HALF_ROUNDING  # of a step, at the largest code: scales kept in half precision may serve
SAME_TOKEN = 1e-5  # relative: a token of its own or in a block, which float32 may compute in another order
COUNTED = 0.01, 256  # share and bytes by which nbytes() may differ from what is held: a number, a shape, a counter
CACHE = 0.30  # of float32: 0.266 with a float32 scale a token at 64 numbers, and some room for tokens to come
SURE = 0.1  # how far the best logit is ahead of the next where a GPT is sure of its token


def qmax(bits: int) -> int:
    return 2 ** (bits - 1) - 1


def exact(w: Tensor) -> Tensor:
    """w as the contract sees it, rounded to float32 first, then in float64."""
    return w.detach().to(torch.float32).to(torch.float64)


def scale(w: Tensor, bits: int = 8) -> float:
    """The per-tensor scale in float64; 1.0 for all zeros."""
    largest = exact(w).abs().max().item()
    return largest / qmax(bits) if largest > 0 else 1.0


def channel_scales(w: Tensor, bits: int, axis: int) -> Tensor:
    """A scale per index of `axis`, float64, with w.ndim dimensions; 1.0 for zero channels."""
    slices = exact(w).abs().movedim(axis, 0).flatten(1) if w.dim() > 1 else exact(w).abs()[:, None]
    largest = slices.max(dim=1).values
    shape = [1] * w.dim()
    shape[axis] = -1
    return torch.where(largest > 0, largest / qmax(bits), 1.0).view(shape)


def codes(w: Tensor, step: Tensor | float, bits: int = 8) -> Tensor:
    """Half-to-even codes in float64, clamped to the grid, as int64."""
    return (exact(w) / step).round().clamp(-qmax(bits), qmax(bits)).long()


def round_trip(w: Tensor, bits: int = 8, axis: int | None = None) -> Tensor:
    """The reconstruction in float64, per tensor or per channel."""
    step = scale(w, bits) if axis is None else channel_scales(w, bits, axis)
    return codes(w, step, bits).double() * step


def group_of(columns: int, size: int | None) -> Tensor:
    """(columns,) int64: the group of each column, `size` neighbours a group; None: all of a row."""
    return torch.arange(columns) // (size or columns)


def grouped_scales(w: Tensor, bits: int, size: int | None, least: float = HALF.smallest_normal) -> Tensor:
    """(rows, groups) float64: max|group| / qmax, but no less than `least`."""
    w, group = exact(w).abs(), group_of(w.shape[1], size)
    largest = [w[:, group == g].amax(dim=1) for g in range(int(group[-1]) + 1)]
    return (torch.stack(largest, dim=1) / qmax(bits)).clamp(min=least)


def grouped_round_trip(w: Tensor, bits: int, size: int | None) -> Tensor:
    """The reconstruction in float64 with float16 scales for groups."""
    steps = grouped_scales(w, bits, size).half().double()[:, group_of(w.shape[1], size)]
    return codes(w, steps, bits) * steps


def away_from_ties(shape: tuple[int, ...], step: Tensor | float, rng: torch.Generator, bits: int = 8) -> Tensor:
    """float32 values whose code is beyond dispute: every one within 0.45 steps of it, and each row reaches qmax."""
    limit = qmax(bits)
    whole = torch.randint(-limit + 1, limit, shape, generator=rng)
    part = torch.rand(shape, generator=rng, dtype=torch.float64) * 0.9 - 0.45
    values = whole + part
    values[..., 0] = limit * (1 - 2 * torch.randint(0, 2, shape[:-1], generator=rng))
    return (values * step).float()


def without_near_ties(w: Tensor, bits: int = 8) -> Tensor:
    """w, float32, with every weight near a tie moved a hundredth of a step towards zero: no code is in dispute."""
    step = scale(w, bits)
    ratio = w / step  # off by 1e-5 at most, in float32
    near = (ratio - ratio.round()).abs() > 0.5 - 2 * NEAR_TIE
    w = w.clone()
    w[near] -= 0.01 * step * w[near].sign()
    return w


def same_scales(got: Tensor, want: Tensor | float) -> Tensor:
    """Where float32 scales lie within 2 units in the last place of the float64 ones: a bool for each."""
    want = torch.as_tensor(want, dtype=torch.float64)
    unit = torch.from_numpy(np.asarray(np.spacing(want.float().numpy()))).double()
    return (got.double() - want).abs() <= 2 * unit


def what_of_scale(w: Tensor, got: float, want: float, otherwise: str) -> str:
    """What to think about a scale of w that is wrong."""
    if got > want and want < TINY:
        return ABSOLUTE
    return PRECISION if w.dtype != torch.float32 else otherwise


def check_scales(got: Tensor, want: Tensor, w: Tensor, called: str, think: str) -> None:
    """Every scale is max|...| / qmax of its part of w.  got, want: of the same shape, want in float64."""
    wrong = ~same_scales(got, want)
    if wrong.any():
        first = wrong.nonzero()[0]
        i = tuple(first)
        added, factor = (got.double() - want)[wrong], (got.double() / want)[wrong]
        if len(added) > 1 and added.min() > 0 and added.max() < 1.1 * added.min():  # the same for large and small
            think = ABSOLUTE
        elif len(added) > 1 and _is_a_divisor(factor):
            think = f"All are {factor.mean():.4g} times what they should be: by which number is the largest divided?"
        fail(
            called,
            f"scale {got[i]:.7g} at {at(first)} ({_share(wrong)} differ)",
            f"scale {want[i]:.7g}",
            what_of_scale(w, got[i].item(), want[i].item(), think),
        )


def _is_a_divisor(factor: Tensor) -> bool:
    """Whether all scales are off by one factor that comes from another number of codes: 128, 255, or that of 2 bits."""
    likely = 1 / 300 < factor.mean() < 300 and abs(factor.mean() - 1) > 1e-4
    return bool(likely and factor.max() < factor.min() * (1 + 1e-5))


def check_codes(
    got: Tensor, w: Tensor, step: Tensor | float, bits: int, called: str, think: str = "", name: str = "w"
) -> None:
    """Every code is the nearest one; near a tie both neighbours are.  got int8, w and step as the student had them."""
    ratio = exact(w) / torch.as_tensor(step).double()
    nearest = ratio.round().clamp(-qmax(bits), qmax(bits))
    distance = (got.double() - ratio.clamp(-qmax(bits), qmax(bits))).abs()
    right = (got.double() == nearest) | (distance <= 0.5 + NEAR_TIE)
    right &= got.double().abs() <= qmax(bits)
    if not right.all():
        first = (~right).nonzero()[0]
        i = tuple(first)
        if think == ROUNDING and distance[i] > 1:
            think = ORDER
        fail(
            called,
            f"code {int(got[i])} at {at(first)}, where {name} / scale = {ratio[i]:.4f} ({_share(~right)} differ)",
            f"code {int(nearest[i])}, the nearest in [{-qmax(bits)}, {qmax(bits)}]",
            think,
        )


def check_bound(got: Tensor, w: Tensor, step: Tensor | float, called: str, think: str = "") -> None:
    """No weight is further from its reconstruction than half a step (times the float32 slack)."""
    error = (got.double() - exact(w)).abs()
    allowed = (torch.as_tensor(step).double() / 2 * HALF_STEP).expand_as(error)
    wrong = ~(error <= allowed)
    if wrong.any():
        first = wrong.nonzero()[0]
        i = tuple(first)
        fail(
            called,
            f"{exact(w)[i]:.6g} at {at(first)} came back as {got.double()[i]:.6g}: an error of {error[i]:.4g} "
            f"({_share(wrong)} too far off)",
            f"at most {allowed[i]:.4g}, which is half a step, s / 2",
            think,
        )


def check_on_grid(got: Tensor, step: float, bits: int, called: str) -> None:
    """Every value is a code of the grid times the scale."""
    ratio = got.double() / step
    wrong = ((ratio - ratio.round()).abs() > 1e-3) | (ratio.abs() > qmax(bits) + 1e-3)
    if wrong.any():
        first = wrong.nonzero()[0]
        i = tuple(first)
        fail(
            called,
            f"{got.double()[i]:.6g} at {at(first)}, which is {ratio[i]:.4f} steps of s ({_share(wrong)} off the grid)",
            f"a whole number of steps, at most {qmax(bits)}: all that a code of {bits} bits can stand for",
            "Does round_trip quantize w, and does it pass the bits on?",
        )


def int8_linear(x: Tensor, wq: Tensor, w_scales: Tensor, bias: Tensor | None) -> tuple[Tensor, Tensor]:
    """x quantized per token times wq in float64, and what float32 may be off by."""
    scales = exact(x).abs().amax(-1, keepdim=True) / 127
    scales = torch.where(scales > 0, scales, 1.0)
    xq = codes(x, scales).double()
    outer = scales * w_scales.double().flatten()
    want, size = xq @ wq.double().t() * outer, xq.abs() @ wq.double().abs().t() * outer
    if bias is not None:
        want, size = want + bias.double(), size + bias.double().abs()
    return want, size * PRODUCT + 1e-37


def check_close(got: Tensor, want: Tensor, allowed: Tensor, called: str, what: str, think: str = "") -> None:
    """|got - want| <= allowed for every element; want and allowed in float64."""
    error = (got.double() - want).abs()
    wrong = ~(error <= allowed)
    if wrong.any():
        first = wrong.nonzero()[0] if got.dim() else torch.zeros(0)
        i = tuple(first.long())
        where = f" at {at(first)}" if got.dim() else ""
        fail(
            called,
            f"{got.double()[i]:.8g}{where} ({_share(wrong)} differ)",
            f"{want[i]:.8g} within {torch.as_tensor(allowed).expand_as(want)[i]:.2g}, {what}",
            think,
        )


def _share(wrong: Tensor) -> str:
    return f"{int(wrong.sum()):,} of {wrong.numel():,}"
