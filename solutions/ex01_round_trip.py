"""ex01  Round trip: weights to codes and back

A trained weight is a float32 number of 4 bytes. Quantized, it is a small integer of 1 byte or less, its code q. One
number for the whole tensor, the scale s, is the step between two neighbouring codes.

    qmax = 2**(bits - 1) - 1          8 bits: 127, 4 bits: 7, 2 bits: 1
    s = max|w| / qmax                 so that the largest |w| gets the last code, qmax
    q = round(w / s)                  in [-qmax, qmax], as torch.int8
    w' = q * s                        the reconstruction: nearly w

Rounding moves w / s by at most one half. So no weight moves by more than s / 2, whether it is large or small. The grid
is symmetric: 0 is a code, the code of -w is minus the code of w, and the code -128 is never used.

Why it matters: 1 billion parameters take 4 GB in float32, 1 GB in int8 and 500 MB in int4, and processors multiply
small integers faster. When it passes, run `.venv/bin/python -m exercises.ex01_round_trip` and look at 8, 4 and 2 bits.
"""

if __name__ == "__main__" and not __package__:
    raise SystemExit("Run it from the project's folder as a module: .venv/bin/python -m exercises.ex01_round_trip")

import torch
from torch import Tensor


def symmetric_scale(w: Tensor, bits: int = 8) -> Tensor:
    """The step between two neighbouring codes of a symmetric grid.

    w:       any shape and floating-point precision, converted to float32 first; zeros, or max|w| from 1e-30 to 1e37
    bits:    the width of a code, 2 to 8
    returns: a number > 0, max|w| / qmax: a float32 tensor of shape (), or a Python number. Where w is all zeros, any
             positive finite number
    raises:  ValueError for an empty w, for NaN or infinity in w, and for other bits
    """
    qmax = checked_qmax(w, bits)
    # float32 first: in half precision the division alone would cost more than the rounding to codes
    largest = w.float().abs().max()
    # zeros have no step of their own: any number will do but 0, because 0 / 0 is NaN
    return torch.where(largest > 0, largest / qmax, 1.0)


def quantize(w: Tensor, scale: Tensor | float, bits: int = 8) -> Tensor:
    """The nearest code of every weight, ties to the even code, clamped to the grid.

    w, bits: as symmetric_scale takes them
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
    scale:   a number > 0
    returns: q.shape float32
    """
    return q.float() * scale


def round_trip(w: Tensor, bits: int = 8) -> Tensor:
    """The reconstruction of w: quantized with its own scale, and dequantized.

    w, bits: as symmetric_scale takes them
    returns: w.shape float32, each element within s / 2 of w
    raises:  ValueError as symmetric_scale
    """
    scale = symmetric_scale(w, bits)
    return dequantize(quantize(w, scale, bits), scale)


def checked_qmax(w: Tensor, bits: int) -> int:
    """The last code of the grid. Raises ValueError for a w or bits that cannot be quantized."""
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
    print("'.' is the weight, '#' its reconstruction. With 8 bits the two look the same. With 4 bits there are stairs.")
    print("With 2 bits, three codes are left, and the shape is lost.")


if __name__ == "__main__":
    demonstration()
