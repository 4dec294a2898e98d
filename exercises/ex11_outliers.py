"""ex11  Outliers: a few columns stay in floating point

Models of some billions of parameters grow outlier features: a handful of the channels of a hidden state carry values
up to 20 times as large as all others, in most tokens (Dettmers et al. 2022, "LLM.int8()", section 4). A token
has one scale, max|x| / 127. With one value of 300 in it, the others, near 1, fall on the codes -1, 0 and 1: int8 has
become 2 bits. Removing those features is worse: they carry much of what the model computes.

LLM.int8() splits the product along its inner dimension (their section 3.2, equation 8). O holds the columns of x in
which some token reaches the threshold:

    x W^T  =  sum over k in O of x[k] W[:, k]           floating point, a thin slice
           +  s_x s_w * sum over all other k of xq[k] Wq[:, k]           int8, nearly everything

The tokens' scales are taken without the columns in O: that is the whole point. The columns of W that belong to O stay
in float too; they may be as small as their x is large, and then have no digits left in int8. Which columns these are,
each call's x decides, so this layer keeps W twice, in int8 and in float. (The authors' library keeps the codes alone
and turns a few columns of them back into float16: enough for a model whose weights are not as uneven as here. With a
threshold of 6.0 the paper finds at most 0.1 percent of the features to qualify.)

A small GPT has no such features by nature. `llm.outliers.with_outliers` gives it some without changing what it
computes. (Its tests ask for a threshold of 10: at 6 a tenth of this GPT's columns would count, most of them behind the
GELU.) When it passes, run `python -m exercises.ex11_outliers`: what they do to plain int8, and to this.
"""

if __name__ == "__main__" and not __package__:
    raise SystemExit("Run it from the project's folder as a module: python -m exercises.ex11_outliers")

import copy

from torch import Tensor, nn

from .ex02_per_channel import quantize_per_channel
from .ex04_int8_product import int8_matmul
from .ex05_linear_swap import swap_linears
from .ex06_perplexity import drift, perplexity


def outlier_columns(x: Tensor, threshold: float = 6.0) -> Tensor:
    """Which features of x have an outlier: |x| >= threshold in at least one token.

    x:       (..., K), any leading shape
    returns: (K,) bool
    """
    # TODO: ex11, step 1 of 2. One bool a column: over what does `any` run?
    raise NotImplementedError("ex11: outlier_columns")


def mixed_int8_linear(linear: nn.Linear, threshold: float = 6.0) -> nn.Module:
    """A module that computes what linear does: in float for the columns of x with an outlier, in int8 for all others.

    linear:    with or without bias; stays as it is
    threshold: of outlier_columns, asked anew about the x of every call; none of its columns may qualify, or all
    returns:   a module (..., K) to (..., N) float32
    """
    # TODO: ex11, step 2 of 2. Write an nn.Module of your own above, and return one here.
    raise NotImplementedError("ex11: mixed_int8_linear")


def demonstration() -> None:
    """The same GPT without and with outlier features: plain int8, and mixed."""
    from llm.checkpoint import load_gpt
    from llm.corpus import held_out_tokens
    from llm.outliers import with_outliers

    tokens = held_out_tokens()[:2049]
    for what, gpt in (("as trained", load_gpt()), ("with outliers", with_outliers(load_gpt(), 3, 100.0))):
        mixed = copy.deepcopy(gpt)
        for parent in list(mixed.modules()):
            for name, child in parent.named_children():
                if isinstance(child, nn.Linear):
                    setattr(parent, name, mixed_int8_linear(child))
        before = perplexity(gpt, tokens, 256)
        print(f"{what + ', float32':<28} perplexity {before:8.3f}")
        for how, model in (("int8", swap_linears(gpt)), ("mixed", mixed)):
            after = perplexity(model, tokens, 256)
            print(f"{f'{what}, {how}':<28} perplexity {after:8.3f}   drift {drift(before, after):+8.2%}")


if __name__ == "__main__":
    try:
        demonstration()
    except NotImplementedError as stub:
        print(f"not there yet: {stub}")
