"""ex10  INT4: two codes a byte, a scale for every group

Below 8 bits a step is no longer small. The symmetric grid has 15 levels at 4 bits (-7 to 7), 7 levels at 3 bits and
three at 2 bits: -1, 0, 1. A step is 18 times as wide at 4 bits as at 8, 127 times at 2. So what breaks first is the
part of a row whose weights are small beside its largest: it all rounds to 0. One scale for a whole matrix hurts at
4 bits already, one a row is better, and the cure is more of the same: `group_size` neighbours in a row share a scale
(block-wise quantization, Dettmers and Zettlemoyer 2023, "The case for 4-bit precision", section 2).

    s[i, g] = max|W[i, columns of group g]| / qmax        rounded to float16 before w is divided by it
    bits per weight = bits + 16 / group_size              4.5 at 4 bits and groups of 32, as in llama.cpp's Q4_0

Float16 has a trap. Its normal numbers end at 2**-14; below, digits fade until nothing is left, and 0 divides badly. A
scale is never smaller than that.

PyTorch computes nothing in 4 bits. Two codes share a byte, each as four bits of two's complement, and come apart again
before the product: memory is what this saves on a CPU, not arithmetic. Activations stay in float ("weight-only",
W4A16). When it passes, run `python -m exercises.ex10_int4`: what each width does to the GPT.
"""

if __name__ == "__main__" and not __package__:
    raise SystemExit("Run it from the project's folder as a module: python -m exercises.ex10_int4")

import copy
from collections.abc import Iterable

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from .ex01_round_trip import quantize, symmetric_scale
from .ex06_perplexity import drift, perplexity


def pack_int4(q: Tensor) -> Tensor:
    """Two codes a byte, in whichever order.

    q:       (n,) int8 in [-7, 7]
    returns: (ceil(n / 2),) uint8; for an odd n, the unused half of the last byte may hold anything
    """
    # TODO: ex10, step 1 of 5. Which bits of an int8 code between -7 and 7 say all? Then two of them, side by side.
    raise NotImplementedError("ex10: pack_int4")


def unpack_int4(packed: Tensor, n: int) -> Tensor:
    """The codes that pack_int4 was given, in their order.

    packed:  (ceil(n / 2),) uint8
    returns: (n,) int8 in [-7, 7]
    """
    # TODO: ex10, step 2 of 5. Apart again, in order, and mind the sign of a code that has only four bits.
    raise NotImplementedError("ex10: unpack_int4")


def quantize_grouped(w: Tensor, bits: int = 4, group_size: int | None = 32) -> tuple[Tensor, Tensor]:
    """Codes, and a float16 scale for every group of neighbours in a row.

    w:          (rows, columns), floating point of any precision, max|w| up to 65504 (float16's largest) * qmax
    group_size: how many columns share a scale; the last group of a row may be smaller. None: the whole row
    returns:    (q, scales): (rows, columns) int8 in [-qmax, qmax], and (rows, groups) float16, none below 2**-14
    raises:     ValueError for an empty or non-finite w, or bits outside 2..8
    """
    # TODO: ex10, step 3 of 5. ex01's quantize divides by whatever it is given. What do you give it?
    raise NotImplementedError("ex10: quantize_grouped")


def spread(scales: Tensor, columns: int, size: int) -> Tensor:
    """(rows, groups) scales as (rows, columns) float32, one for each weight."""
    return scales.float().repeat_interleave(size, dim=1)[:, :columns]


def int4_linear(linear: nn.Linear, group_size: int | None = 32) -> nn.Module:
    """A module that computes what linear does, (..., K) to (..., N), with a 4-bit weight; x stays in float.

    linear:  with or without bias; stays as it is
    returns: a module whose state dict holds two codes a byte, a float16 scale a group, the bias, and no float weight
    """
    # TODO: ex10, step 4 of 5. Write an nn.Module of your own above, and return one here.
    raise NotImplementedError("ex10: int4_linear")


def bit_width_sweep(model: nn.Module, tokens: Tensor, widths: Iterable[int]) -> dict[int, float]:
    """Perplexity of a GPT by the width of its Linears' weights, each rounded in groups of 32; all else stays in float.

    model:   a GPT; stays as it is
    tokens:  (N,) int64, cut into windows of model.config.block_size
    widths:  bits, each 2 to 8
    returns: {width: perplexity}
    """
    # TODO: ex10, step 5 of 5. ex06 measures. What must be fresh for every width?
    raise NotImplementedError("ex10: bit_width_sweep")


def demonstration() -> None:
    """The sweep in groups of 32, with bits a weight (scales included); then 4 bits with fewer scales."""
    from llm.checkpoint import load_gpt
    from llm.corpus import held_out_tokens

    gpt, tokens = load_gpt(), held_out_tokens()[:5121]
    before = perplexity(gpt, tokens, 256)
    print(f"{'float32':<28} perplexity {before:8.3f}")
    for bits, after in bit_width_sweep(gpt, tokens, (8, 6, 4, 3, 2)).items():
        what = f"{bits} bits ({bits + 16 / 32}), {2**bits - 1} levels"
        print(f"{what:<28} perplexity {after:8.3f}   drift {drift(before, after):+9.2%}")
    for what in ("row", "matrix"):
        rounded = copy.deepcopy(gpt)
        for linear in rounded.modules():
            if isinstance(linear, nn.Linear):
                w = linear.weight.data if what == "row" else linear.weight.data.view(1, -1)
                codes, scales = quantize_grouped(w, 4, None)
                linear.weight.data = (codes * scales.float()).view_as(linear.weight)
        after = perplexity(rounded, tokens, 256)
        print(f"{f'4 bits, one scale a {what}':<28} perplexity {after:8.3f}   drift {drift(before, after):+9.2%}")


if __name__ == "__main__":
    try:
        demonstration()
    except NotImplementedError as stub:
        print(f"not there yet: {stub}")
