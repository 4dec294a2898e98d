"""ex11  Outliers: a few columns stay in floating point

Language models of some billions of parameters have outlier features: in a few channels of the hidden states, values are
up to 20 times as large as in all others (Dettmers et al. 2022, "LLM.int8()", section 4). In int8 a token has one scale,
max|x| / 127. If one value of a token is 300, the step is 2.4, and all values between -3.5 and 3.5 become -1, 0 or 1: of
8 bits less than 2 are left. The outliers cannot be dropped, either: the model needs them.

LLM.int8() splits the product along its inner dimension k (section 3.2, equation 8). O is the set of outlier columns: in
each of them at least one token of the call reaches the threshold.

    y[t, n] = sum over k in O of x[t, k] * W[n, k]                              floating point: a few columns
            + sx[t] * sw[n] * sum over k not in O of xq[t, k] * wq[n, k]        int8: nearly all columns

Two things matter. The scale sx[t] is taken without the columns in O; otherwise nothing is gained. And the columns of W
that belong to O are multiplied in floating point, too: where x is large, W may be small, so small that in int8 it
would have no digits left.

Each call has its own O, so each column of W may be needed in float. This layer holds W twice, as codes and in float32.
That is 40 bits a weight: it keeps the perplexity, but saves no memory. (The authors' library holds the codes alone and
turns the columns in O back into float16. This is enough unless a column of W is as small as here.)

A small GPT has no such features. `llm.outliers.with_outliers` gives it some without changing what it computes. For
it the tests use a threshold of 10: at 6, a tenth of the GPT's columns are outliers, nearly all of them behind a GELU.

When it passes, run `.venv/bin/python -m exercises.ex11_outliers`: what do outliers do to plain int8, and to this layer?
"""

if __name__ == "__main__" and not __package__:
    raise SystemExit("Run it from the project's folder as a module: .venv/bin/python -m exercises.ex11_outliers")

from torch import Tensor, nn

from .ex02_per_channel import quantize_per_channel
from .ex04_int8_product import int8_matmul
from .ex05_linear_swap import swap_linears
from .ex06_perplexity import drift, perplexity


def outlier_columns(x: Tensor, threshold: float = 6.0) -> Tensor:
    """Which columns of x have an outlier: |x| >= threshold in at least one token.

    x:         (..., K), any leading shape: (K,) is one token, (0, K) is none
    threshold: 0 or more
    returns:   (K,) bool
    """
    return (x.abs() >= threshold).reshape(-1, x.shape[-1]).any(dim=0)


class MixedInt8Linear(nn.Module):
    """A Linear with its weight twice: as codes (N, K) int8 with scales (N, 1), and in float32."""

    def __init__(self, linear: nn.Linear, threshold: float):
        super().__init__()
        self.threshold = threshold
        codes, scales = quantize_per_channel(linear.weight.detach())
        self.register_buffer("codes", codes)
        self.register_buffer("scales", scales)
        self.register_buffer("weight", linear.weight.detach().float().clone())
        self.register_buffer("bias", None if linear.bias is None else linear.bias.detach().float().clone())
        self.train(linear.training)

    def forward(self, x: Tensor) -> Tensor:
        x = x.float()
        outlier = outlier_columns(x, self.threshold)
        y = int8_matmul(x.masked_fill(outlier, 0), self.codes, self.scales, self.bias)  # zeros count for no scale
        return y + x[..., outlier] @ self.weight[:, outlier].t()


def mixed_int8_linear(linear: nn.Linear, threshold: float = 6.0) -> nn.Module:
    """A module that computes what linear does: in float for the columns of x with an outlier, in int8 for all others.

    linear:    with or without bias; stays as it is
    threshold: of outlier_columns, which is called for the x of every call. It may find no column, or all of them
    returns:   a module, (..., K) to (..., N) float32, whose state dict holds the weight's int8 codes. Each token has a
               scale of its own, as in ex04
    """
    return MixedInt8Linear(linear, threshold)


def demonstration() -> None:
    """The same GPT without and with outlier features: plain int8, and mixed."""
    from llm.checkpoint import load_gpt
    from llm.corpus import held_out_tokens
    from llm.linears import with_layers
    from llm.outliers import with_outliers

    print("Six GPTs read 1,025 tokens. This takes about 6 seconds.\n")
    gpt, tokens, drifts = load_gpt(), held_out_tokens()[:1025], {}
    for what, model in (("as trained", gpt), ("with outliers", with_outliers(gpt, 3, 100.0))):
        before = perplexity(model, tokens, 256)
        print(f"{what + ', float32':<28} perplexity {before:8.3f}")
        mixed = with_layers(model, lambda _, linear: mixed_int8_linear(linear))
        for how, quantized in (("int8", swap_linears(model)), ("mixed", mixed)):
            after = perplexity(quantized, tokens, 256)
            drifts[what, how] = drift(before, after)
            print(f"{f'{what}, {how}':<28} perplexity {after:8.3f}   drift {drifts[what, how]:+8.2%}")
    plain, mixed = drifts["with outliers", "int8"], drifts["with outliers", "mixed"]
    print(
        f"\nThree outlier channels a LayerNorm cost plain int8 {plain:+.1%}; with their columns in float, {mixed:+.1%}."
    )


if __name__ == "__main__":
    demonstration()
