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

from .ex01_round_trip import quantize
from .ex06_perplexity import drift, perplexity

SMALLEST = torch.finfo(torch.float16).smallest_normal  # 2**-14


def pack_int4(q: Tensor) -> Tensor:
    """Two codes a byte, in whichever order.

    q:       (n,) int8 in [-7, 7], n of 1 or more
    returns: (ceil(n / 2),) uint8; for an odd n, the unused half of the last byte may hold anything
    """
    nibbles = F.pad(q, (0, len(q) % 2)).view(torch.uint8) & 0xF  # the lower four bits say all, the sign included
    return nibbles[0::2] | nibbles[1::2] << 4


def unpack_int4(packed: Tensor, n: int) -> Tensor:
    """The codes that pack_int4 was given, in their order.

    packed:  (ceil(n / 2),) uint8
    returns: (n,) int8 in [-7, 7]
    """
    nibbles = torch.stack((packed & 0xF, packed >> 4), dim=1).flatten()[:n].view(torch.int8)
    return torch.where(nibbles > 7, nibbles - 16, nibbles)


def quantize_grouped(w: Tensor, bits: int = 4, group_size: int | None = 32) -> tuple[Tensor, Tensor]:
    """Codes, and a float16 scale for every group of neighbours in a row.

    w:          (rows, columns), floating point of any precision, max|w| up to 65504 (float16's largest) * qmax
    group_size: how many neighbours in a row share a scale, 1 or more; the last group may be smaller. None: the row
    returns:    (q, scales): (rows, columns) int8 in [-qmax, qmax], and (rows, groups) float16, none below 2**-14
    raises:     ValueError for an empty or non-finite w, or bits outside 2..8
    """
    rows, columns = w.shape
    size = group_size or columns or 1
    count = -(-columns // size)  # groups in a row
    groups = F.pad(w.float(), (0, count * size - columns)).view(rows, count, size)  # zeros fill up the last one
    scales = groups.abs().amax(dim=2) / (2 ** (bits - 1) - 1)
    scales = scales.clamp(min=SMALLEST).half()
    # quantize checks w and bits
    return quantize(w, spread(scales, columns, size), bits), scales


def spread(scales: Tensor, columns: int, size: int) -> Tensor:
    """(rows, groups) scales as (rows, columns) float32, one for each weight."""
    return scales.float().repeat_interleave(size, dim=1)[:, :columns]


class Int4Linear(nn.Module):
    """A Linear with its weight as packed codes, (ceil(N * K / 2),) uint8, and scales, (N, groups) float16."""

    def __init__(self, linear: nn.Linear, group_size: int | None):
        super().__init__()
        self.shape = linear.weight.shape  # (N, K)
        self.size = group_size or linear.in_features
        codes, scales = quantize_grouped(linear.weight.detach(), 4, group_size)
        self.register_buffer("packed", pack_int4(codes.flatten()))
        self.register_buffer("scales", scales)
        self.register_buffer("bias", None if linear.bias is None else linear.bias.detach().float().clone())
        self.train(linear.training)

    def forward(self, x: Tensor) -> Tensor:
        codes = unpack_int4(self.packed, self.shape.numel()).view(self.shape)
        return F.linear(x.float(), codes * spread(self.scales, self.shape[1], self.size), self.bias)


def int4_linear(linear: nn.Linear, group_size: int | None = 32) -> nn.Module:
    """A module that computes what linear does, (..., K) to (..., N), with a 4-bit weight; x stays in float.

    linear:     with or without bias; stays as it is
    group_size: how many neighbours in a row of the weight share a scale, as in quantize_grouped
    returns:    a module whose state dict holds two codes a byte, a float16 scale a group, and the bias. Neither before
                nor after a call does the module hold the unpacked codes, or a float weight
    """
    return Int4Linear(linear, group_size)


def bit_width_sweep(model: nn.Module, tokens: Tensor, widths: Iterable[int]) -> dict[int, float]:
    """Perplexity of a GPT by the width of its Linears' weights, each rounded in groups of 32; all else stays in float.

    model:   a GPT; stays as it is
    tokens:  (N,) int64, cut into windows of model.config.block_size
    widths:  bits, each 2 to 8
    returns: {width: perplexity}, measured as in ex06
    """
    found = {}
    for bits in widths:
        rounded = copy.deepcopy(model)
        for linear in rounded.modules():
            if isinstance(linear, nn.Linear):
                codes, scales = quantize_grouped(linear.weight.detach(), bits, 32)
                linear.weight.data = codes * spread(scales, linear.in_features, 32)
        found[bits] = perplexity(rounded, tokens, model.config.block_size)
    return found


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
    demonstration()
