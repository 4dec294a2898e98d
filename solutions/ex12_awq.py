"""ex12  AWQ: scale the weights that matter before rounding them

Rounding to nearest treats all weights alike, but the output does not: an error in W[:, k] is multiplied by x[k]. Where
the activations of a channel are large, its column of W is salient, even if its weights are small, and at 4 bits small
weights round to 0. AWQ (Lin et al. 2023, "AWQ: Activation-aware Weight Quantization", section 3.2) looks at
activations to find these columns and multiplies them by an s[k] larger than that of the others before rounding, Q.
Dividing x by the same s leaves the function as it was:

    x W^T  =  (x / s) (W diag(s))^T  ~  (x / s) Q(W diag(s))^T               (their equation 2)

As long as a scaled column is not the largest of its row or group, the step stays what it was, so that the error of
W[:, k] shrinks by the factor s[k]. Scale too much, and the step grows for everybody else. The compromise is searched
for on a calibration set, with one number to choose (equations 4 and 5):

    s = magnitude ** alpha,    magnitude[k] = mean|x[k]|,    alpha in [0, 1]: least ||(x / s) Q(W diag(s))^T - x W^T||

alpha = 0 is round to nearest, and one of the candidates: the outcome can never be worse on that set. In a network the
division of x folds into what comes before where that is linear, a LayerNorm's weight for instance, and costs nothing.

When it passes, run `python -m exercises.ex12_awq`: a GPT with salient columns, at 4 and 3 bits.
"""

if __name__ == "__main__" and not __package__:
    raise SystemExit("Run it from the project's folder as a module: python -m exercises.ex12_awq")

import copy

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from .ex06_perplexity import drift, perplexity
from .ex10_int4 import quantize_grouped, spread

STEPS = 20  # of alpha in [0, 1)


def activation_magnitude(x: Tensor) -> Tensor:
    """How large each feature of x is on average over the tokens: mean |x|.

    x:       (..., K), any leading shape
    returns: (K,) float32
    """
    return x.float().abs().reshape(-1, x.shape[-1]).mean(dim=0)


def round_trip_grouped(w: Tensor, bits: int, group_size: int | None) -> Tensor:
    """(N, K): w rounded to the grid of its groups."""
    codes, scales = quantize_grouped(w, bits, group_size)
    return codes * spread(scales, w.shape[1], group_size or w.shape[1])


def awq_scales(w: Tensor, x: Tensor, bits: int, group_size: int | None) -> Tensor:
    """The factor of each column of w that changes x @ w.T least when w is rounded.

    w:       (N, K)
    x:       (..., K), activations of a calibration set
    returns: (K,) float32 > 0, on x never worse than all ones
    """
    w, x = w.float(), x.float().reshape(-1, x.shape[-1])
    magnitude = activation_magnitude(x).clamp(min=1e-6)
    gram = x.t() @ x  # ||e x||**2 over all tokens is sum of (e gram) * e: one small product for each candidate
    best, least = torch.ones_like(magnitude), float("inf")
    for step in range(STEPS):
        s = magnitude ** (step / STEPS)
        s = s / (s.max() * s.min()).sqrt()  # only ratios matter; this keeps W s near the size of W
        error = round_trip_grouped(w * s, bits, group_size) / s - w
        loss = ((error @ gram) * error).sum().item()
        if loss < least:
            best, least = s, loss
    return best


class AWQLinear(nn.Module):
    """A Linear with the codes (N, K) int8 and scales (N, groups) float16 of W s, and s, (K,), that x is divided by."""

    def __init__(self, linear: nn.Linear, s: Tensor, bits: int, group_size: int | None):
        super().__init__()
        self.size = group_size or linear.in_features
        codes, scales = quantize_grouped(linear.weight.detach() * s, bits, group_size)
        self.register_buffer("codes", codes)
        self.register_buffer("scales", scales)
        self.register_buffer("s", s)
        self.register_buffer("bias", None if linear.bias is None else linear.bias.detach().float().clone())
        self.train(linear.training)

    def forward(self, x: Tensor) -> Tensor:
        return F.linear(x.float() / self.s, self.codes * spread(self.scales, len(self.s), self.size), self.bias)


def awq_linear(linear: nn.Linear, x: Tensor, bits: int, group_size: int | None) -> nn.Module:
    """A module that computes what linear does, with its weight scaled by awq_scales and rounded to `bits` bits.

    linear:  with or without bias; stays as it is
    x:       (..., K), activations of a calibration set
    returns: a module (..., K) to (..., N) float32; the scaling alone, without rounding, changes nothing
    """
    return AWQLinear(linear, awq_scales(linear.weight.detach(), x, bits, group_size), bits, group_size)


def demonstration() -> None:
    """A GPT with 51 salient channels: round to nearest and AWQ, one scale a row."""
    from llm.checkpoint import load_gpt
    from llm.corpus import calibration_tokens, held_out_tokens
    from llm.linears import linear_inputs
    from llm.outliers import with_outliers

    gpt, tokens = with_outliers(load_gpt(), 51, (8.0, 30.0)), held_out_tokens()[:2049]
    seen, before = linear_inputs(gpt, calibration_tokens(8)), perplexity(gpt, tokens, 256)
    print(f"float32                    perplexity {before:8.3f}")
    for bits in (4, 3):
        for what in ("to nearest", "AWQ"):
            model = copy.deepcopy(gpt)
            for name, linear in model.named_modules():
                if isinstance(linear, nn.Linear):
                    w = linear.weight.data
                    s = awq_scales(w, seen[name], bits, None) if what == "AWQ" else torch.ones(w.shape[1])
                    linear.weight.data = round_trip_grouped(w * s, bits, None) / s
            after = perplexity(model, tokens, 256)
            print(f"{f'{bits} bits, {what}':<26} perplexity {after:8.3f}   drift {drift(before, after):+8.2%}")


if __name__ == "__main__":
    demonstration()
