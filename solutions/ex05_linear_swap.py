"""ex05  The swap: int8 Linears in a real model

Time to quantize a model instead of a matrix. Every nn.Linear is replaced by a module of yours that stores the codes and
scales of its weight and multiplies as in ex04. The codes are made once. The activations are quantized in every call,
with a scale for each token. This is called dynamic quantization: it needs no calibration data and no training.

Register what you store as buffers: then it appears in the state dict, and is moved and saved with the model. The float
weight must be gone, or nothing got smaller. The bias may stay in float32: it is tiny, and it is added after scaling.

Then walk the model and swap. A model is a tree: Linears hide inside blocks inside lists. One Linear may be used in two
places, and then has two names; it must stay one layer. Embeddings stay as they are, because a table look-up multiplies
nothing. The model that you were given stays as it was: somebody may still want to compare.

When it passes, run `.venv/bin/python -m exercises.ex05_linear_swap` and read what the swapped GPT writes.
"""

if __name__ == "__main__" and not __package__:
    raise SystemExit("Run it from the project's folder as a module: .venv/bin/python -m exercises.ex05_linear_swap")

import copy
from collections.abc import Collection

import torch
from torch import Tensor, nn

from .ex02_per_channel import dequantize_per_channel, quantize_per_channel
from .ex04_int8_product import int8_matmul


class Int8Linear(nn.Module):
    """A Linear with its weight as codes (N, K) int8 and scales (N, 1) float32."""

    def __init__(self, linear: nn.Linear):
        super().__init__()
        codes, scales = quantize_per_channel(linear.weight.detach())
        self.register_buffer("codes", codes)
        self.register_buffer("scales", scales)
        self.register_buffer("bias", None if linear.bias is None else linear.bias.detach().float().clone())
        self.train(linear.training)

    def forward(self, x: Tensor) -> Tensor:
        return int8_matmul(x, self.codes, self.scales, self.bias)

    @property
    def weight(self) -> Tensor:
        """For modules that read it instead of calling the layer, as nn.TransformerEncoder does in eval mode."""
        return dequantize_per_channel(self.codes, self.scales)


def int8_linear(linear: nn.Linear) -> nn.Module:
    """A module that computes what linear does, (..., K) to (..., N), with int8 weights.

    linear:  with or without bias, in any floating-point precision; stays as it is
    returns: a module that takes x as ex04's int8_matmul does and returns float32. Its state dict holds the int8 codes
             and a scale for each output channel. No float copy of the weight is kept anywhere, before or after a call
    """
    return Int8Linear(linear)


def swap_linears(model: nn.Module, skip: Collection[str] = ()) -> nn.Module:
    """A copy of model with every nn.Linear in it, at any depth, replaced by int8_linear of it.

    model:   any module that calls its Linears, possibly itself a Linear; stays as it is. (nn.TransformerEncoder in eval
             mode and nn.MultiheadAttention read `weight` instead of calling the layer: these are not asked for)
    skip:    full names of Linears to leave in float, as model.named_modules() gives them. "" is the name of the model
             itself. Of a Linear with two names, either one is enough, also the one that named_modules() leaves out
    returns: a new model, in which a Linear that was used in two places is still one module used in two places
    """
    model = copy.deepcopy(model)
    places = dict(model.named_modules(remove_duplicate=False))  # a Linear with two names stands there twice
    skipped = [m for name, m in places.items() if name in skip]
    swapped = {m: int8_linear(m) for m in model.modules() if type(m) is nn.Linear and m not in skipped}
    for name, module in places.items():
        if module in swapped and name:  # "" is the model itself, which hangs nowhere
            model.set_submodule(name, swapped[module])
    return swapped.get(model, model)


def demonstration() -> None:
    """How close the logits of the swapped GPT are, and the same prompt continued by both."""
    from llm.checkpoint import load_gpt
    from llm.corpus import held_out_tokens
    from llm.tokenizer import load_tokenizer

    gpt, tokenizer = load_gpt(), load_tokenizer()
    int8 = swap_linears(gpt)
    ids = held_out_tokens()[None, :256]
    with torch.no_grad():
        want, got = gpt(ids), int8(ids)
    error, same = (got - want).norm() / want.norm(), (got.argmax(-1) == want.argmax(-1)).sum()
    print(
        f"logits of 256 held-out tokens: relative error {error:.2%}, same likeliest token in {same} of 256 positions\n"
    )
    prompt = tokenizer.encode("ROMEO:\n")
    for what, model in (("float32", gpt), ("int8", int8)):
        text = tokenizer.decode(model.generate(prompt, 60, temperature=0.8, top_k=50, seed=1))
        print(f"--- {what} ---\nROMEO:\n{text.strip()}\n")
    print(
        "Both texts were drawn with the same random numbers. Where two tokens are nearly equally likely, a small error"
    )
    print("of the logits is enough to draw the other one, and from there on each model continues its own text.")


if __name__ == "__main__":
    demonstration()
