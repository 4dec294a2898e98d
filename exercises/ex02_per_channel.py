"""ex02  Per channel: one scale for every row

With one scale for the whole matrix, its single largest weight decides how coarse the grid is for all the others. Give
each output channel, a row of W in `x @ W.T`, a scale of its own:

    s[i] = max|W[i, :]| / qmax
    q[i, j] = round(W[i, j] / s[i])        W'[i, j] = q[i, j] * s[i]

Every row now keeps its own bound s[i] / 2, and none of them is larger than the per-tensor bound. It is called a free
improvement: 4 bytes more a row, no slower, because a row's scale can be taken out of the sum over j and multiplied in
once, at the end. A scale per *column* could not: it sits inside that sum.

In general one axis is kept and all others are reduced. Scales that keep the number of dimensions of w, with size 1
everywhere but there, divide w by broadcasting, whatever its shape. When it passes, run
`python -m exercises.ex02_per_channel`: what does one huge weight do to the other rows?
"""

if __name__ == "__main__" and not __package__:
    raise SystemExit("Run it from the project's folder as a module: python -m exercises.ex02_per_channel")

import torch
from torch import Tensor

from .ex01_round_trip import dequantize, quantize, round_trip, symmetric_scale


def channel_scales(w: Tensor, bits: int = 8, axis: int = 0) -> Tensor:
    """One scale for every index along `axis`; the other axes are reduced.

    w:       1-D to 4-D, any floating-point precision
    axis:    the axis that is kept, 0 for a scale per row; may be negative
    returns: float32, > 0, with w.ndim dimensions, all of size 1 except `axis`. A channel of zeros: any positive number
    raises:  ValueError for an empty or non-finite w, or bits outside 2..8
    """
    # TODO: ex02, step 1 of 3. Which axes are reduced, and how do they stay there with size 1?
    raise NotImplementedError("ex02: channel_scales")


def quantize_per_channel(w: Tensor, bits: int = 8, axis: int = 0) -> tuple[Tensor, Tensor]:
    """Codes and scales, one scale for every index along `axis`.

    returns: (q, scales): q is w.shape int8 in [-qmax, qmax]; scales as channel_scales
    raises:  ValueError as channel_scales
    """
    # TODO: ex02, step 2 of 3. Does ex01's quantize mind a scale that is a tensor?
    raise NotImplementedError("ex02: quantize_per_channel")


def dequantize_per_channel(q: Tensor, scales: Tensor) -> Tensor:
    """The weights that the codes stand for.

    q:       any shape int8
    scales:  as channel_scales returns them
    returns: q.shape float32
    """
    # TODO: ex02, step 3 of 3. One line.
    raise NotImplementedError("ex02: dequantize_per_channel")


def demonstration() -> None:
    """One huge weight in row 0: what it does to the other rows, with one scale and with one scale a row."""
    torch.manual_seed(0)
    w = torch.randn(6, 256) * 0.02
    w[0, 0] = 1.0
    whole = round_trip(w) - w
    rows = dequantize_per_channel(*quantize_per_channel(w)) - w
    print("row   largest |w|   rms error, one scale   rms error, a scale a row")
    for i in range(len(w)):
        error = [e[i].square().mean().sqrt().item() for e in (whole, rows)]
        print(f"{i:3}   {w[i].abs().max():11.3f}   {error[0]:20.6f}   {error[1]:24.6f}")
    print("\nOne weight in row 0 made every row coarse; with a scale a row only its own row pays.")


if __name__ == "__main__":
    try:
        demonstration()
    except NotImplementedError as stub:
        print(f"not there yet: {stub}")
