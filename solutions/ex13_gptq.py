"""ex13  GPTQ: let the other weights make up for the error

Rounding to nearest decides each weight alone. But what counts is the output, w @ x. If two features of x always move
together, the second weight can make up for the rounding error of the first. GPTQ (Frantar et al. 2022, "GPTQ: Accurate
Post-Training Quantization", section 3) does this for all columns. With the tokens of a calibration set as rows of X,
it keeps the mean squared error of the output small, for every row w of W (their equation 1, here divided by n):

    1/n ||X (w' - w)||**2  =  1/2 (w' - w) H (w' - w)^T          H = 2 X^T X / n, the Hessian

Columns are rounded one after the other. When column k has been rounded, all later columns move a little, such that
the error above grows least. F is the set of columns that are not rounded yet, k among them (their equation 2):

    err = (w[k] - Q(w[k])) / inverse(H_F)[k, k]                  w[F] -= err * inverse(H_F)[k, :]

Here inverse(H_F) is another matrix in every step. But all rows that the steps need are in one factor, the upper
Cholesky factor U of the inverse of H: row k of U is row k of inverse(H_F), divided by the root of its entry at k. So U
is computed once, and the same step is (their algorithm 1)

    inverse(H) = U^T U          e = (w[k] - Q(w[k])) / U[k, k]          w[k:] -= e * U[k, k:]

for all rows of W at once. The scales are those of ex02, fixed before anything moves; Q clamps to the grid.

H may have no inverse. A feature that is always 0 leaves a 0 on the diagonal: put a 1 there. Then add damp times the
mean of the diagonal to the whole diagonal: with fewer tokens than features, H is singular all the same.

Keep W transposed and contiguous, so that a column lies together in memory: the same steps take a third of the time or
less. When it passes, run `.venv/bin/python -m exercises.ex13_gptq`.
"""

if __name__ == "__main__" and not __package__:
    raise SystemExit("Run it from the project's folder as a module: .venv/bin/python -m exercises.ex13_gptq")

import copy

import torch
from torch import Tensor, nn

from .ex02_per_channel import channel_scales, dequantize_per_channel, quantize_per_channel
from .ex06_perplexity import drift, perplexity


def hessian(x: Tensor) -> Tensor:
    """2 X^T X / n: the second derivatives of the mean squared error of an output, by its row of weights.

    x:       (..., K), n tokens in any leading shape, (K,) is one; floating point of any precision
    returns: (K, K) float32
    """
    x = x.float().reshape(-1, x.shape[-1])
    return 2 / len(x) * x.t() @ x


def gptq_quantize(w: Tensor, h: Tensor, bits: int, damp: float = 0.01) -> tuple[Tensor, Tensor]:
    """Codes chosen so that the outputs w @ x.T change least, not the weights. The order of the columns is free.

    w:       (N, K), floating point of any precision; stays as it is, and so does h
    h:       (K, K) float32, the hessian of x; may be singular, or have columns of zeros
    bits:    2 to 8
    damp:    times the mean of h's diagonal (with 1 for each 0 there), this is added to the diagonal
    returns: (q, scales): (N, K) int8 in [-qmax, qmax], and ex02's scales (N, 1) float32
    raises:  ValueError for an empty or non-finite w, or bits outside 2..8
    """
    scales = channel_scales(w, bits)
    qmax, upper = 2 ** (bits - 1) - 1, _upper_factor_of_inverse(h, damp)
    w, step = w.float().t().clone(memory_format=torch.contiguous_format), scales[:, 0]  # row k is column k of W
    q = torch.empty_like(w)
    for k in range(len(w)):
        q[k] = (w[k] / step).round().clamp(-qmax, qmax)
        error = (w[k] - q[k] * step) / upper[k, k]
        w[k:] -= upper[k, k:, None] * error
    return q.t().to(torch.int8).contiguous(), scales


def _upper_factor_of_inverse(h: Tensor, damp: float) -> Tensor:
    """(K, K) float32, U with inverse(h + damping) = U^T U; in double precision until the end."""
    h = h.double().clone()
    h.diagonal()[h.diagonal() == 0] = 1  # dead: no other column is to pay for it, nor it for others
    h.diagonal().add_(damp * h.diagonal().mean())
    inverse = torch.cholesky_inverse(torch.linalg.cholesky(h))
    return torch.linalg.cholesky(inverse, upper=True).float()


def demonstration() -> None:
    """The GPT at 3 and 2 bits with one scale a row: round to nearest and GPTQ."""
    from llm.checkpoint import load_gpt
    from llm.corpus import calibration_tokens, held_out_tokens
    from llm.linears import linear_inputs

    print("This takes about 20 seconds.\n")
    gpt, tokens = load_gpt(), held_out_tokens()[:1025]
    hessians = {name: hessian(x) for name, x in linear_inputs(gpt, calibration_tokens(24)).items()}
    before = perplexity(gpt, tokens, 256)
    print(f"float32                perplexity {before:9.3f}")
    lost = []
    for bits in (3, 2):
        for what in ("to nearest", "GPTQ"):
            model = copy.deepcopy(gpt)
            for name, linear in model.named_modules():
                if isinstance(linear, nn.Linear):
                    w = linear.weight.data
                    pair = gptq_quantize(w, hessians[name], bits) if what == "GPTQ" else quantize_per_channel(w, bits)
                    linear.weight.data = dequantize_per_channel(*pair)
            after = perplexity(model, tokens, 256)
            lost.append(drift(before, after))
            print(f"{f'{bits} bits, {what}':<22} perplexity {after:9.3f}   drift {lost[-1]:+10.2%}")
    print("\nWith the same bits and the same scales, GPTQ makes the perplexity drift by")
    print(
        f"{lost[1]:+.1%} instead of {lost[0]:+.1%} at 3 bits, and {lost[3]:+.0%} instead of {lost[2]:+.0%} at 2 bits."
    )


if __name__ == "__main__":
    demonstration()
