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

SMALLEST = torch.finfo(torch.float16).smallest_normal  # 2**-14


def pack_int4(q: Tensor) -> Tensor:
    """Two codes a byte, in whichever order.

    q:       (n,) int8 in [-7, 7]
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
    group_size: how many columns share a scale; the last group of a row may be smaller. None: the whole row
    returns:    (q, scales): (rows, columns) int8 in [-qmax, qmax], and (rows, groups) float16, none below 2**-14
    raises:     ValueError for an empty or non-finite w, or bits outside 2..8
    """
    symmetric_scale(w, bits)  # for its checks of w and bits
    rows, columns = w.shape
    size = group_size or columns
    groups = F.pad(w.float(), (0, -columns % size)).view(rows, -1, size)  # zeros fill up the last one
    scales = groups.abs().amax(dim=2) / (2 ** (bits - 1) - 1)
    scales = scales.clamp(min=SMALLEST).half()
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

    linear:  with or without bias; stays as it is
    returns: a module whose state dict holds two codes a byte, a float16 scale a group, the bias, and no float weight
    """
    return Int4Linear(linear, group_size)


def bit_width_sweep(model: nn.Module, tokens: Tensor, widths: Iterable[int]) -> dict[int, float]:
    """Perplexity of a GPT by the width of its Linears' weights, each rounded in groups of 32; all else stays in float.

    model:   a GPT; stays as it is
    tokens:  (N,) int64, cut into windows of model.config.block_size
    widths:  bits, each 2 to 8
    returns: {width: perplexity}
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
    demonstration()
