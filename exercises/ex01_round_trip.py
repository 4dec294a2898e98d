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
    # TODO: ex01, step 1 of 4. What should happen to a tensor of zeros?
    raise NotImplementedError("ex01: symmetric_scale")


def quantize(w: Tensor, scale: Tensor | float, bits: int = 8) -> Tensor:
    """The nearest code of every weight, ties to the even code, clamped to the grid.

    w, bits: as symmetric_scale takes them
    scale:   a number > 0, not always the one that symmetric_scale would choose for w
    returns: w.shape int8, in [-qmax, qmax]
    raises:  ValueError as symmetric_scale
    """
    # TODO: ex01, step 2 of 4. Rounding, staying on the grid, and the cast: in which order?
    raise NotImplementedError("ex01: quantize")


def dequantize(q: Tensor, scale: Tensor | float) -> Tensor:
    """The weights that the codes stand for: q * scale.

    q:       any shape int8
    scale:   a number > 0
    returns: q.shape float32
    """
    # TODO: ex01, step 3 of 4. One line; mind the dtype.
    raise NotImplementedError("ex01: dequantize")


def round_trip(w: Tensor, bits: int = 8) -> Tensor:
    """The reconstruction of w: quantized with its own scale, and dequantized.

    w, bits: as symmetric_scale takes them
    returns: w.shape float32, each element within s / 2 of w
    raises:  ValueError as symmetric_scale
    """
    # TODO: ex01, step 4 of 4. Call the three functions above, one after the other.
    raise NotImplementedError("ex01: round_trip")


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
    try:
        demonstration()
    except NotImplementedError as stub:
        print(f"not there yet: {stub}")
