"""ex12  AWQ: scale the weights that matter before rounding them

Rounding to nearest treats all weights alike, but the output does not: an error in W[:, k] is multiplied by x[k]. Where
the activations of feature k are large, column k of W is salient, even if its weights are small; and at 4 bits small
weights round to 0. AWQ (Lin et al. 2023, "AWQ: Activation-aware Weight Quantization", section 3.2) finds these columns
by looking at activations. It multiplies each column of W by a factor s[k], larger for salient columns, before rounding
(Q), and divides x by the same factors. Without rounding, nothing would change:

    x W^T  =  (x / s) (W diag(s))^T  ~  (x / s) Q(W diag(s))^T        (their equation 2, for a layer)

As long as a scaled column is not the largest of its row or group, the step stays what it was, and the error of W[:, k]
shrinks by the factor s[k]. If s[k] is too large, column k becomes the largest, and the step grows for its whole group.
So the factors are a compromise. One number is searched for, on a calibration set (their equations 4 and 5):

    s = magnitude ** alpha       magnitude[k] = mean|x[k]|       0 <= alpha <= 1
    best alpha: least ||(x / s) Q(W diag(s))^T - x W^T||

alpha = 0 is rounding to nearest. It is one of the candidates, so on the calibration set the result is never worse. In a
network, the layer before can do the division of x if it is linear or a LayerNorm; then it costs nothing.

When it passes, run `.venv/bin/python -m exercises.ex12_awq`: a GPT with salient columns, at 4 and 3 bits.
"""

if __name__ == "__main__" and not __package__:
    raise SystemExit("Run it from the project's folder as a module: .venv/bin/python -m exercises.ex12_awq")

import copy

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from .ex06_perplexity import drift, perplexity
from .ex10_int4 import quantize_grouped, spread

STEPS = 20  # of alpha, from 0 to 1


def activation_magnitude(x: Tensor) -> Tensor:
    """How large each feature of x is on average over the tokens: mean |x|.

    x:       (..., K), any leading shape, (K,) is one token; floating point of any precision
    returns: (K,) float32
    """
    return x.float().abs().reshape(-1, x.shape[-1]).mean(dim=0)


def round_trip_grouped(w: Tensor, bits: int, group_size: int | None) -> Tensor:
    """w, (N, K), rounded to `bits` bits and turned back into float32, with a scale for each group as in ex10.

    group_size: how many neighbours in a row share a scale; None: the whole row
    """
    codes, scales = quantize_grouped(w, bits, group_size)
    return codes * spread(scales, w.shape[1], group_size or w.shape[1])


def awq_scales(w: Tensor, x: Tensor, bits: int, group_size: int | None) -> Tensor:
    """The factors for the columns of w with which rounding w changes x @ w.T least.

    w:          (N, K), floating point of any precision
    x:          (..., K), activations of a calibration set, with mean|x| of 0.01 to 100 or 0 for each feature
    bits:       2 to 8
    group_size: how many neighbours in a row of w share a scale, as in ex10; None: the whole row
    returns:    (K,) float32 > 0: w is multiplied by them, x divided; on x never worse than all ones
    """
    w, x = w.float(), x.float().reshape(-1, x.shape[-1])
    magnitude = activation_magnitude(x).clamp(min=1e-6)
    gram = x.t() @ x  # ||e x||**2 over all tokens is sum of (e gram) * e: one small product for each candidate
    best, least = torch.ones_like(magnitude), float("inf")
    for step in range(STEPS + 1):
        s = magnitude ** (step / STEPS)
        s = s / (s.max() * s.min()).sqrt()  # only ratios matter; W s stays about as large as W
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

    linear:     with or without bias; stays as it is
    x:          (..., K), activations of a calibration set
    bits:       2 to 8
    group_size: how many neighbours in a row of the weight share a scale, as in ex10; None: the whole row
    returns:    a module (..., K) to (..., N) float32; its x is not rounded, and its bias stays as it is
    """
    return AWQLinear(linear, awq_scales(linear.weight.detach(), x, bits, group_size), bits, group_size)


def demonstration() -> None:
    """A GPT with 51 salient channels: round to nearest and AWQ, one scale a row."""
    from llm.checkpoint import load_gpt
    from llm.corpus import calibration_tokens, held_out_tokens
    from llm.linears import linear_inputs
    from llm.outliers import with_outliers

    print("This takes about 15 seconds.\n")
    gpt, tokens = with_outliers(load_gpt(), 51, (8.0, 30.0)), held_out_tokens()[:1025]
    seen, before = linear_inputs(gpt, calibration_tokens(4)), perplexity(gpt, tokens, 256)
    print(f"float32                    perplexity {before:8.3f}")
    for bits in (4, 3):
        lost = []
        for what in ("to nearest", "AWQ"):
            model = copy.deepcopy(gpt)
            for name, linear in model.named_modules():
                if isinstance(linear, nn.Linear):
                    w = linear.weight.data
                    s = awq_scales(w, seen[name], bits, None) if what == "AWQ" else torch.ones(w.shape[1])
                    linear.weight.data = round_trip_grouped(w * s, bits, None) / s
            after = perplexity(model, tokens, 256)
            lost.append(drift(before, after))
            print(f"{f'{bits} bits, {what}':<26} perplexity {after:8.3f}   drift {lost[-1]:+8.2%}")
        print(f"{'':<26} AWQ saves {1 - lost[1] / lost[0]:.0%} of the drift at {bits} bits: only the factors differ.")


if __name__ == "__main__":
    demonstration()
