"""ex03  Error growth: why small errors do no harm

A Linear layer sums n products, and each weight in the sum is off by up to s / 2. In the worst case, all errors add up:

    worst = n * s/2 * max|x|

But rounding errors are positive as often as negative. An error spread evenly over [-s/2, s/2] has mean 0 and standard
deviation s / sqrt(12). The variances of independent terms add up, so the standard deviation of the sum grows like
sqrt(n):

    typical = s / sqrt(12) * sqrt(n) * rms(x)

A random walk does the same: after 4,096 steps it is typically 64 steps away from its start. This is why a network
survives quantization. (Some texts say s/2 * sqrt(n). This takes the largest error of a weight for its typical error,
and is sqrt(3) = 1.73 times too large.)

But rounding must be unbiased. If every weight is rounded *down*, all errors have the same sign, and they add up like n.
Cutting fractions off, as a cast does, moves positive weights down and negative weights up. In a matrix with as many
positive as negative weights these errors still cancel; they are twice as large as those of rounding to nearest.

When it passes, `.venv/bin/python -m exercises.ex03_error_growth` draws all of this beside what your function measures.
"""

if __name__ == "__main__" and not __package__:
    raise SystemExit("Run it from the project's folder as a module: .venv/bin/python -m exercises.ex03_error_growth")

import math

import torch
from torch import Tensor

from .ex01_round_trip import round_trip, symmetric_scale


def output_error(w: Tensor, x: Tensor, bits: int = 8) -> Tensor:
    """How far off a matrix-vector product is when w is quantized with one scale, and x is left as it is.

    w:       (rows, n), any floating-point precision, converted to float32 first; zeros, or max|w| from 1e-30 to 1e37
    x:       (n,), likewise; its precision may be another one than that of w
    bits:    the width of a code, 2 to 8
    returns: a number: the root mean square over the rows of (w' - w) @ x, within 1 % if float32 can hold it
    raises:  ValueError as ex01's symmetric_scale
    """
    # the difference of the weights, not of two products: float32 keeps few digits of a small difference
    # in float64: in float32 the square of a large error is infinite, and that of a small one is 0
    error = (round_trip(w, bits) - w.float()).double() @ x.double()  # (rows,)
    return error.square().mean().sqrt()


def typical_error(n: int, scale: Tensor | float, x_rms: Tensor | float) -> Tensor | float:
    """The output_error that theory expects: the standard deviation of a sum of n independent errors.

    n:       the number of terms in the sum, an int of 1 or more
    scale:   the step s of the grid, a number > 0, from 1e-32 to 1e34
    x_rms:   the root mean square of x, a number; like scale, a tensor of shape () or a Python number
    returns: a number
    """
    return scale / math.sqrt(12) * math.sqrt(n) * x_rms


def worst_case_error(n: int, scale: Tensor | float, x_max: Tensor | float) -> Tensor | float:
    """The error if every weight were off by half a step, and every error had the worst sign.

    n, scale: as typical_error takes them
    x_max:   the largest |x|, a number
    returns: a number: no output error is larger
    """
    return n * scale / 2 * x_max


def demonstration() -> None:
    """Measured errors beside both theories, for sums of 64 to 16,384 terms, and the errors of rounding down."""
    from llm.plot import text_plot

    torch.manual_seed(0)
    columns = ("measured", "typical", "s/2*sqrt(n)", "rounded down", "worst case")
    print("     n" + "".join(f"{column:>15}" for column in columns))
    sizes, errors = [2**k for k in range(6, 15)], []
    for n in sizes:
        w, x = torch.rand(256, n) * 2 - 1, torch.randn(n) + 1
        scale = symmetric_scale(w)
        typical = typical_error(n, scale, x.square().mean().sqrt())
        down = ((w / scale).floor() * scale - w) @ x
        worst = worst_case_error(n, scale, x.abs().max())
        row = [output_error(w, x), typical, typical * math.sqrt(3), down.square().mean().sqrt(), worst]
        errors.append([float(error) for error in row])
        print(f"{n:6}" + "".join(f"{error:15.4f}" for error in errors[-1]))
    curves = torch.tensor(errors).log2().t()  # (5, 9)
    smooth = torch.nn.functional.interpolate(curves[None], 73, mode="linear", align_corners=True)[0]
    marks = {"w": smooth[4], "d": smooth[3], ".": smooth[1], "#": smooth[0]}
    print("\nThe error (upwards) for n = 64 to 16,384 (to the right), both logarithmic:")
    print(text_plot({mark: curve.tolist() for mark, curve in marks.items()}, height=16))
    print("'#' measured, over '.' typical; 'd' rounded down; 'w' worst case")
    steps = torch.tensor(sizes).log2()
    steps -= steps.mean()
    slopes = curves @ steps / steps.square().sum()
    print(f"\nRounding to nearest: the error grows like n ** {slopes[0]:.2f}, so four times as many terms double it.")
    print(f"Rounding down: the errors all have the same sign, and their sum grows like n ** {slopes[3]:.2f}.")


if __name__ == "__main__":
    demonstration()
