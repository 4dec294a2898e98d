"""ex02  Per channel: one scale for every row

With one scale for the whole matrix, its largest weight decides how coarse the grid is for all the others. So give each
output channel, which is a row of W in `x @ W.T`, a scale of its own:

    s[i] = max|W[i, :]| / qmax
    q[i, j] = round(W[i, j] / s[i])        W'[i, j] = q[i, j] * s[i]

Every row now has its own bound s[i] / 2, and no row's bound is larger than the bound with one scale. This is called a
free improvement. It costs 4 bytes a row, and hardly any time: in the product with x, row i is a sum over j, and s[i]
does not depend on j, so it is multiplied in once, after the sum. A scale per *column* does depend on j.

In general, one axis is kept and all others are reduced. Let the scales have as many dimensions as w, with size 1
everywhere except at the kept axis. Then w / scales divides every channel by its own scale, whatever the shape of w.
When it passes, run `.venv/bin/python -m exercises.ex02_per_channel`: what does one huge weight do to the other rows?
"""

if __name__ == "__main__" and not __package__:
    raise SystemExit("Run it from the project's folder as a module: .venv/bin/python -m exercises.ex02_per_channel")

import torch
from torch import Tensor

from .ex01_round_trip import dequantize, quantize, round_trip, symmetric_scale


def channel_scales(w: Tensor, bits: int = 8, axis: int = 0) -> Tensor:
    """One scale for every index along `axis`; the other axes are reduced.

    w:       1-D to 4-D, any floating-point precision; each channel all zeros, or with max|w| from 1e-30 to 1e37
    bits:    the width of a code, 2 to 8
    axis:    the axis that is kept: 0 for a scale per row; may be negative
    returns: float32, > 0, with w.ndim dimensions, all of size 1 except `axis`. A channel of zeros has any positive
             finite scale
    raises:  ValueError as ex01's symmetric_scale
    """
    whole = symmetric_scale(w, bits)  # raises what is to be raised; positive, so that it serves channels of zeros
    others = [d for d in range(w.ndim) if d != axis % w.ndim]
    # amax over an empty list of axes reduces all of them; in a vector every element is a channel
    largest = w.float().abs().amax(dim=others, keepdim=True) if others else w.float().abs()
    return torch.where(largest > 0, largest / (2 ** (bits - 1) - 1), whole)


def quantize_per_channel(w: Tensor, bits: int = 8, axis: int = 0) -> tuple[Tensor, Tensor]:
    """Codes and scales, one scale for every index along `axis`.

    w, bits, axis: as channel_scales takes them
    returns: (q, scales): q is w.shape int8 in [-qmax, qmax]; scales as channel_scales returns them
    raises:  ValueError as channel_scales
    """
    scales = channel_scales(w, bits, axis)
    # ex01's quantize computes w / scales, which divides each channel by its own scale
    return quantize(w, scales, bits), scales


def dequantize_per_channel(q: Tensor, scales: Tensor) -> Tensor:
    """The weights that the codes stand for.

    q:       1-D to 4-D int8
    scales:  as channel_scales returns them for a w of q's shape
    returns: q.shape float32
    """
    return dequantize(q, scales)


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
    print(
        "\nWith one scale, the largest weight of row 0 makes all rows coarse. With a scale a row, only row 0 is coarse."
    )


if __name__ == "__main__":
    demonstration()
