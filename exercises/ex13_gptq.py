"""ex13  GPTQ: let the other weights make up for the error

Rounding decides each weight for itself. But what counts is the output: with correlated inputs, an error in one column
can be made good by the columns after it. GPTQ (Frantar et al. 2022, "GPTQ: Accurate Post-Training Quantization")
minimizes, for every row w of W on a calibration set X,

    1/n ||(w' - w) X^T||**2  =  1/2 (w' - w) H (w' - w)^T,    H = 2 X^T X / n    (X: n tokens, a row each; their eq. 1)

one column at a time, left to right. Once column k is rounded, its error is shared among all columns not yet rounded,
in the proportion that adds least to that sum of squares (the Optimal Brain Surgeon's update, their equation 2):

    e = (w[k] - Q(w[k])) / Hinv[k, k]            w[k:] -= e Hinv[k, k:]

Hinv is the inverse of H over the columns that are still left, so it changes at every step. Their third insight: the row
that step k needs, divided by the root of Hinv[k, k], is row k of the upper Cholesky factor U of the inverse of H, so it
is computed once, for all rows of W at a time (their algorithm 1):

    inverse(H) = U^T U            e = (w[k] - Q(w[k])) / U[k, k]            w[k:] -= e U[k, k:]

Scales are fixed before anything moves, as in ex02. A column whose input was always 0 is dead: its weight can be
anything. It gets a 1 on the diagonal; then damp * mean(diagonal of H) is added to all of the diagonal, since H may be
singular all the same: fewer tokens than features, or two features that always agree.

The paper's lazy batches (what comes after a block of columns is updated once a block) save a GPU's memory traffic, and
are not needed here, where the whole GPT has a minute. What helps is to keep W transposed, so that what belongs to one
column lies together in memory: ten times faster or more, for the same steps. When it passes, run
`python -m exercises.ex13_gptq`.
"""

if __name__ == "__main__" and not __package__:
    raise SystemExit("Run it from the project's folder as a module: python -m exercises.ex13_gptq")

import copy

import torch
from torch import Tensor, nn

from .ex02_per_channel import channel_scales, dequantize_per_channel, quantize_per_channel
from .ex06_perplexity import drift, perplexity


def hessian(x: Tensor) -> Tensor:
    """2 X^T X / n, the second derivative of the mean squared error of an output with respect to its row of weights.

    x:       (..., K), n tokens of any leading shape
    returns: (K, K) float32
    """
    # TODO: ex13, step 1 of 2. One line.
    raise NotImplementedError("ex13: hessian")


def gptq_quantize(w: Tensor, h: Tensor, bits: int, damp: float = 0.01) -> tuple[Tensor, Tensor]:
    """Codes that keep w @ x.T, rather than w, close to what it was; columns go left to right, or the largest first.

    w:       (N, K), floating point of any precision
    h:       (K, K), the hessian of x; may be singular, or have columns of zeros
    damp:    what is added to h's diagonal, as a fraction of the diagonal's mean
    returns: (q, scales): (N, K) int8 in [-qmax, qmax], and ex02's scales (N, 1) float32
    raises:  ValueError for an empty or non-finite w, or bits outside 2..8
    """
    # TODO: ex13, step 2 of 2. The factor first, then one column after the other, for all rows at once.
    raise NotImplementedError("ex13: gptq_quantize")


def demonstration() -> None:
    """The GPT at 4, 3 and 2 bits with one scale a row: round to nearest and GPTQ."""
    from llm.checkpoint import load_gpt
    from llm.corpus import calibration_tokens, held_out_tokens
    from llm.linears import linear_inputs

    gpt, tokens = load_gpt(), held_out_tokens()[:2049]
    hessians = {name: hessian(x) for name, x in linear_inputs(gpt, calibration_tokens(24)).items()}
    before = perplexity(gpt, tokens, 256)
    print(f"float32                perplexity {before:9.3f}")
    for bits in (4, 3, 2):
        for what in ("to nearest", "GPTQ"):
            model = copy.deepcopy(gpt)
            for name, linear in model.named_modules():
                if isinstance(linear, nn.Linear):
                    w = linear.weight.data
                    pair = gptq_quantize(w, hessians[name], bits) if what == "GPTQ" else quantize_per_channel(w, bits)
                    linear.weight.data = dequantize_per_channel(*pair)
            after = perplexity(model, tokens, 256)
            print(f"{f'{bits} bits, {what}':<22} perplexity {after:9.3f}   drift {drift(before, after):+10.2%}")


if __name__ == "__main__":
    try:
        demonstration()
    except NotImplementedError as stub:
        print(f"not there yet: {stub}")
