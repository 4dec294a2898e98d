"""ex04  The integer product: scale only once

So far codes were turned back into floats before use. The speed comes from not doing that: quantize the activations
too, multiply integers, and bring the scales in afterwards.

    x[t, k] ~ sx[t] * xq[t, k]        one scale per token t, found in every call: max|x[t, :]| / 127
    W[n, k] ~ sw[n] * wq[n, k]        one scale per output channel n, from ex02
    y[t, n] = sum_k x[t, k] * W[n, k] ~ sx[t] * sw[n] * sum_k xq[t, k] * wq[n, k]

Neither scale depends on k, so both leave the sum, and the sum itself is exact, in integers. There are two traps. A
product of two int8 tensors is again int8 in PyTorch and wraps around silently: 100 * 100 becomes 16. And float32 holds
whole numbers exactly only up to 2**24, which is 1,040 terms of 127 * 127. The sum of K = 4,096 such terms needs 26 bits
and a sign: int32.

With a scale per token, no token can change the result of another. With one scale for the whole call, one large token
makes all others coarse, even the tokens before it.

When it passes, run `.venv/bin/python -m exercises.ex04_int8_product`: both traps, and one large token.
"""

if __name__ == "__main__" and not __package__:
    raise SystemExit("Run it from the project's folder as a module: .venv/bin/python -m exercises.ex04_int8_product")


import torch
from torch import Tensor

from .ex02_per_channel import quantize_per_channel


def quantize_tokens(x: Tensor) -> tuple[Tensor, Tensor]:
    """8-bit codes of activations, with one scale for every token.

    x:       (..., K), finite, any floating-point precision: (K,) is one token, (2, 3, K) are six, (0, K) is none.
             Each token is all zeros, or has max|x| from 1e-30 to 1e37
    returns: (codes, scales): x.shape int8 in [-127, 127], and x.shape[:-1] + (1,) float32, > 0. A token of zeros has
             any positive finite scale
    """
    # TODO: ex04, step 1 of 3. One scale for each token: which axis is reduced? (x may be empty: ex01 refuses that.)
    raise NotImplementedError("ex04: quantize_tokens")


def int8_product(xq: Tensor, wq: Tensor) -> Tensor:
    """The exact sums of products of codes.

    xq:      (..., K) int8, K up to 4096
    wq:      (N, K) int8
    returns: (..., N) int32: sum over k of xq[..., k] * wq[n, k]
    """
    # TODO: ex04, step 2 of 3. Which dtype has room for the sum, up to K = 4096? (torch._int_mm is fast: is it exact?)
    raise NotImplementedError("ex04: int8_product")


def int8_matmul(x: Tensor, wq: Tensor, w_scales: Tensor, bias: Tensor | None = None) -> Tensor:
    """x @ W.T + bias, computed in integers.

    x:        (..., K), as quantize_tokens takes it, K up to 4096
    wq:       (N, K) int8
    w_scales: (N, 1) float32, as quantize_per_channel returns it
    bias:     (N,) float32, or None
    returns:  (..., N) float32
    """
    # TODO: ex04, step 3 of 3. The two above; where do the scales go, and where the bias?
    raise NotImplementedError("ex04: int8_matmul")


def demonstration() -> None:
    """The traps of integer arithmetic, and the error of an int8 product."""
    torch.manual_seed(0)
    hundred = torch.tensor([100], dtype=torch.int8)
    print(f"100 * 100 in int8: {int(hundred * hundred)}")
    full = torch.full((1, 4096), 127, dtype=torch.int8)
    in_int8 = int((full * full).sum(dtype=torch.int8))
    print(f"the sum of 4,096 * 127 * 127: {int(int8_product(full, full)):,}; all in int8: {in_int8}")
    x, w = torch.randn(64, 512), torch.randn(256, 512) * 0.02
    wq, w_scales = quantize_per_channel(w)
    exact = (x @ w.t())[1:]
    print("\nrelative error of tokens 1 to 63   a scale per token   one scale for the call")
    for what, factor in (("all tokens of one size", 1.0), ("token 0 made 100 times larger", 100.0)):
        x[0] *= factor
        whole = x.abs().max() / 127
        per_call = int8_product((x / whole).round().to(torch.int8), wq) * whole * w_scales.flatten()
        errors = [(y[1:] - exact).norm() / exact.norm() for y in (int8_matmul(x, wq, w_scales), per_call)]
        print(f"{what:<32}   {errors[0]:17.4f}   {errors[1]:22.4f}")
    print("\nWith one scale for the call, one large token makes all others coarse. A scale per token prevents that.")


if __name__ == "__main__":
    try:
        demonstration()
    except NotImplementedError as stub:
        print(f"not there yet: {stub}")
