"""ex01  Round trip: weights to codes and back

A trained weight is a float32 number of 4 bytes. Quantized, it is a small integer, its code q, of 1 byte or less; one
number for the whole tensor, the scale s, says how far apart two neighbouring codes are.

    qmax = 2**(bits - 1) - 1          8 bits: 127, 4 bits: 7, 2 bits: 1
    s = max|w| / qmax                 so that the largest weight lands on the last code
    q = round(w / s)                  in [-qmax, qmax], as torch.int8
    w' = q * s                        the reconstruction: w again, nearly

Rounding moves w / s by at most one half, so no weight moves by more than s / 2, however large or small it is itself.
The grid is symmetric: zero is a code of its own, q of -w is -q, and the code -128 stays unused.

Why it matters: 1 billion parameters take 4 GB in float32, 1 GB in int8 and 500 MB in int4, and processors multiply
small integers faster. When it passes, run `python -m exercises.ex01_round_trip` and look at 8, 4 and 2 bits.
"""

if __name__ == "__main__" and not __package__:
    raise SystemExit("Run it from the project's folder as a module: python -m exercises.ex01_round_trip")

import torch
from torch import Tensor


def symmetric_scale(w: Tensor, bits: int = 8) -> Tensor:
    """The step between two neighbouring codes of a symmetric grid.

    w:       any shape; any floating-point precision, taken as float32; all zeros, or max|w| from 1e-30 to 1e37
    returns: () float32, > 0; the largest |w| lands on the last code, qmax. All zeros: any positive finite number
    raises:  ValueError for an empty or non-finite w, or bits outside 2..8
    """
    qmax = checked_qmax(w, bits)
    # float32 first: in half precision the division alone would cost more than the rounding to codes
    largest = w.float().abs().max()
    # a tensor of zeros has no step of its own; any will do, but 0 / 0 would be NaN
    return torch.where(largest > 0, largest / qmax, 1.0)


def quantize(w: Tensor, scale: Tensor | float, bits: int = 8) -> Tensor:
    """The nearest code of every weight, ties to the even code, clamped to the grid.

    w:       any shape, any floating-point precision
    scale:   a number > 0, not always the one that symmetric_scale would choose for w
    returns: w.shape int8, in [-qmax, qmax]
    raises:  ValueError as symmetric_scale
    """
    qmax = checked_qmax(w, bits)
    # round, then clamp, then cast: a cast alone cuts the fraction off, and 128 wraps around to -128
    return torch.round(w.float() / scale).clamp(-qmax, qmax).to(torch.int8)


def dequantize(q: Tensor, scale: Tensor | float) -> Tensor:
    """The weights that the codes stand for: q * scale.

    q:       any shape int8
    returns: q.shape float32
    """
    return q.float() * scale


def round_trip(w: Tensor, bits: int = 8) -> Tensor:
    """w as it comes back from its codes.

    returns: w.shape float32, each element within s / 2 of w
    raises:  ValueError as symmetric_scale
    """
    scale = symmetric_scale(w, bits)
    return dequantize(quantize(w, scale, bits), scale)


def checked_qmax(w: Tensor, bits: int) -> int:
    """The last code of the grid, once w and bits are fit for it."""
    if not 2 <= bits <= 8:
        raise ValueError(f"bits is {bits}: use 2 to 8")
    if w.numel() == 0:
        raise ValueError(f"w is empty: its shape is {tuple(w.shape)}")
    if not torch.isfinite(w).all():
        raise ValueError("w holds NaN or infinity")
    return 2 ** (bits - 1) - 1


def demonstration() -> None:
    """One row of a fake weight matrix, a smooth curve, at 8, 4 and 2 bits."""
    from llm.plot import text_plot

    t = torch.linspace(0, 6.28, 72)
    row = torch.sin(t) * torch.exp(-t / 5) + 0.2 * torch.sin(3 * t)
    for bits in (8, 4, 2):
        rebuilt = round_trip(row, bits)
        error = (rebuilt - row).abs().max().item()
        print(f"{bits} bits: {2**bits - 1} codes, step {symmetric_scale(row, bits):.4f}, largest error {error:.4f}")
        print(text_plot({".": row.tolist(), "#": rebuilt.tolist()}), end="\n\n")
    print("'.' is the weight, '#' its reconstruction: 8 bits cover the curve, 4 bits climb stairs, 2 bits lost it.")


if __name__ == "__main__":
    demonstration()
