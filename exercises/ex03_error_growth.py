"""ex03  Error growth: why small errors do no harm

A Linear layer sums n products, and each weight in the sum is off by up to s / 2. The worst case adds up like n:

    worst = n * s/2 * max|x|

But rounding errors have no preferred sign. An error spread evenly over [-s/2, s/2] has mean 0 and standard deviation
s / sqrt(12), and the variances of independent terms add up, so the standard deviation of the sum grows like sqrt(n):

    typical = s / sqrt(12) * sqrt(n) * rms(x)

For n = 4,096 that is 64 steps of a random walk instead of 4,096 steps in one direction. This is why a network survives
quantization, and why the rounding must not lean: with a bias, one that cuts every fraction off for instance, the mean
of the errors is not 0 and they grow like n after all. (One also reads s/2 * sqrt(n), which takes the largest error of
a weight for its typical one: sqrt(3) = 1.73 times too much.)

When it passes, `python -m exercises.ex03_error_growth` shows all of them beside what is measured.
"""

if __name__ == "__main__" and not __package__:
    raise SystemExit("Run it from the project's folder as a module: python -m exercises.ex03_error_growth")

import math

import torch
from torch import Tensor

from .ex01_round_trip import round_trip, symmetric_scale


def output_error(w: Tensor, x: Tensor, bits: int = 8) -> Tensor:
    """How far off a matrix-vector product is when w is quantized per tensor and x is not.

    w:       (rows, n), any floating-point precision
    x:       (n,), likewise, not always the same as that of w
    returns: a number, the root mean square over the rows of (w' - w) @ x
    raises:  ValueError for an empty or non-finite w, or bits outside 2..8
    """
    # TODO: ex03, step 1 of 3. Measure: quantize w, leave x alone.
    raise NotImplementedError("ex03: output_error")


def typical_error(n: int, scale: Tensor | float, x_rms: Tensor | float) -> Tensor | float:
    """What theory expects of output_error: the standard deviation of a sum of n independent errors.

    n:       terms in the sum
    scale:   the step s of the grid
    x_rms:   the root mean square of x
    returns: a number
    """
    # TODO: ex03, step 2 of 3. The formula of the lesson.
    raise NotImplementedError("ex03: typical_error")


def worst_case_error(n: int, scale: Tensor | float, x_max: Tensor | float) -> Tensor | float:
    """The error if every weight were off by half a step, all in the worst direction.

    x_max:   the largest |x|
    returns: a number that no output error can exceed
    """
    # TODO: ex03, step 3 of 3. The other one.
    raise NotImplementedError("ex03: worst_case_error")


def demonstration() -> None:
    """Measured error beside both theories, for sums of 64 to 16,384 terms."""
    torch.manual_seed(0)
    print("     n   measured   s/sqrt(12)*sqrt(n)   s/2*sqrt(n)   worst case")
    for n in (64, 256, 1024, 4096, 16384):
        w, x = torch.rand(256, n) * 2 - 1, torch.randn(n) + 1
        scale, x_rms = symmetric_scale(w), x.square().mean().sqrt()
        typical, worst = typical_error(n, scale, x_rms), worst_case_error(n, scale, x.abs().max())
        print(f"{n:6}   {output_error(w, x):8.4f}   {typical:18.4f}   {typical * math.sqrt(3):11.4f}   {worst:10.2f}")
    print("\nFour times as many terms, twice the error. The worst case grows four times, and never happens.")


if __name__ == "__main__":
    try:
        demonstration()
    except NotImplementedError as stub:
        print(f"not there yet: {stub}")
