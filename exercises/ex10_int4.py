"""ex10  INT4: two codes a byte, a scale for every group

Below 8 bits a step is no longer small. The symmetric grid has 15 levels at 4 bits (-7 to 7), 7 levels at 3 bits, and 3
levels at 2 bits (-1, 0, 1). A step is 18 times as wide at 4 bits as at 8 bits, and 127 times at 2 bits. At 4 bits every
weight below a 14th of the largest one becomes 0, if the two share a scale. So fewer weights should share one: not a
whole matrix, and better not even a row, but `group_size` neighbours in a row. This is block-wise quantization (Dettmers
and Zettlemoyer 2023, "The case for 4-bit precision").

    s[i, g] = max|W[i, columns of group g]| / qmax        rounded to float16 before W is divided by it
    bits per weight = bits + 16 / group_size              4.5 at 4 bits and groups of 32, as in llama.cpp's Q4_0

Float16 has a trap: its smallest normal number is 2**-14. Below that, precision is lost, and finally the scale becomes 0
and the division gives infinity or NaN. So no scale is smaller than 2**-14.

PyTorch does not multiply 4-bit numbers. Two codes share a byte, each as four bits of two's complement, and are unpacked
before the product. On a CPU this saves memory, but no time. Activations stay in float ("weight-only", W4A16).

When it passes, run `.venv/bin/python -m exercises.ex10_int4`: what does each width cost the GPT?
"""

if __name__ == "__main__" and not __package__:
    raise SystemExit("Run it from the project's folder as a module: .venv/bin/python -m exercises.ex10_int4")

import copy
from collections.abc import Iterable

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from .ex01_round_trip import quantize, symmetric_scale
from .ex06_perplexity import drift, perplexity


def pack_int4(q: Tensor) -> Tensor:
    """Two codes a byte, in whichever order.

    q:       (n,) int8 in [-7, 7], n of 1 or more
    returns: (ceil(n / 2),) uint8; for an odd n, the unused half of the last byte may hold anything
    """
    # TODO: ex10, step 1 of 5. Which four bits of a code between -7 and 7 are enough? Then put two codes into a byte.
    raise NotImplementedError("ex10: pack_int4")


def unpack_int4(packed: Tensor, n: int) -> Tensor:
    """The codes that pack_int4 was given, in their order.

    packed:  (ceil(n / 2),) uint8
    returns: (n,) int8 in [-7, 7]
    """
    # TODO: ex10, step 2 of 5. Take the two codes of a byte apart, in order. Where is the sign of a four-bit code?
    raise NotImplementedError("ex10: unpack_int4")


def quantize_grouped(w: Tensor, bits: int = 4, group_size: int | None = 32) -> tuple[Tensor, Tensor]:
    """Codes, and a float16 scale for every group of neighbours in a row.

    w:          (rows, columns), floating point of any precision, max|w| up to 65504 (float16's largest) * qmax
    group_size: how many neighbours in a row share a scale, 1 or more; the last group may be smaller. None: the row
    returns:    (q, scales): (rows, columns) int8 in [-qmax, qmax], and (rows, groups) float16, none below 2**-14
    raises:     ValueError for an empty or non-finite w, or bits outside 2..8
    """
    # TODO: ex10, step 3 of 5. Scales first. By which scales does ex01's quantize then have to divide?
    raise NotImplementedError("ex10: quantize_grouped")


def spread(scales: Tensor, columns: int, size: int) -> Tensor:
    """(rows, groups) scales as (rows, columns) float32, one for each weight."""
    return scales.float().repeat_interleave(size, dim=1)[:, :columns]


def int4_linear(linear: nn.Linear, group_size: int | None = 32) -> nn.Module:
    """A module that computes what linear does, (..., K) to (..., N), with a 4-bit weight; x stays in float.

    linear:     with or without bias; stays as it is
    group_size: how many neighbours in a row of the weight share a scale, as in quantize_grouped
    returns:    a module whose state dict holds two codes a byte, a float16 scale a group, and the bias. Neither before
                nor after a call does the module hold the unpacked codes, or a float weight
    """
    # TODO: ex10, step 4 of 5. Write an nn.Module of your own above, and return one here.
    raise NotImplementedError("ex10: int4_linear")


def bit_width_sweep(model: nn.Module, tokens: Tensor, widths: Iterable[int]) -> dict[int, float]:
    """Perplexity of a GPT by the width of its Linears' weights, each rounded in groups of 32; all else stays in float.

    model:   a GPT; stays as it is
    tokens:  (N,) int64, cut into windows of model.config.block_size
    widths:  bits, each 2 to 8
    returns: {width: perplexity}, measured as in ex06
    """
    # TODO: ex10, step 5 of 5. ex06 measures. What must be fresh for every width?
    raise NotImplementedError("ex10: bit_width_sweep")


def demonstration() -> None:
    """Perplexity against bits, in groups of 32; then 4 bits with fewer scales."""
    from math import log

    from llm.checkpoint import load_gpt
    from llm.corpus import held_out_tokens
    from llm.plot import text_plot

    print("The GPT reads a text with its weights at five widths. This takes about 10 seconds.\n")
    gpt, tokens = load_gpt(), held_out_tokens()[:2561]
    before = perplexity(gpt, tokens, 256)
    print(f"{'float32':<28} perplexity {before:8.3f}")
    found = bit_width_sweep(gpt, tokens, (8, 6, 4, 3, 2))
    for bits, after in found.items():
        what = f"{bits} bits ({bits + 16 / 32}), {2**bits - 1} levels"
        print(f"{what:<28} perplexity {after:8.3f}   drift {drift(before, after):+9.2%}")
    others = {}
    for what in ("row", "matrix"):
        rounded = copy.deepcopy(gpt)
        for linear in rounded.modules():
            if isinstance(linear, nn.Linear):
                w = linear.weight.data if what == "row" else linear.weight.data.view(1, -1)
                codes, scales = quantize_grouped(w, 4, None)
                linear.weight.data = (codes * scales.float()).view_as(linear.weight)
        others[what] = drift(before, after := perplexity(rounded, tokens, 256))
        print(f"{f'4 bits, one scale a {what}':<28} perplexity {after:8.3f}   drift {others[what]:+9.2%}")
    print("\nPerplexity on a logarithmic scale, in groups of 32:\n")
    print(text_plot({"#": [log(after) for after in found.values() for _ in range(8)]}))
    print("".join(f"{bits} bits".ljust(8) for bits in found))
    costs = f"In groups of 32, 4 bits cost {drift(before, found[4]):+.1%} and 2 bits {drift(before, found[2]):+.0%}"
    print(f"\n{costs}; with one scale a matrix, 4 bits cost {others['matrix']:+.1%}.")


if __name__ == "__main__":
    try:
        demonstration()
    except NotImplementedError as stub:
        print(f"not there yet: {stub}")
