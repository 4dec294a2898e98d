"""ex05  The swap: int8 Linears in a real model

Time to quantize a model instead of a matrix. Every nn.Linear is replaced by a module of yours that stores the codes and
scales of its weight, made once, and multiplies as in ex04: activations are quantized on the fly, token by token. This
is what "dynamic" quantization means: no calibration data, nothing to train.

Register what you store as buffers, so that it appears in the state dict and moves and saves with the model. The float
weight must be gone, or nothing got smaller. The bias stays in float32: it is tiny, and it is added after scaling.

Then walk the model and swap. A model is a tree: Linears hide inside blocks inside lists. The same Linear may hang in
two places and must stay one layer. Embeddings stay as they are (a table look-up multiplies nothing). The model you were
given stays untouched: somebody may still want to compare. When it passes, run `python -m exercises.ex05_linear_swap`
and read what the swapped GPT writes.
"""

if __name__ == "__main__" and not __package__:
    raise SystemExit("Run it from the project's folder as a module: python -m exercises.ex05_linear_swap")

from collections.abc import Collection

from torch import Tensor, nn

from .ex02_per_channel import quantize_per_channel
from .ex04_int8_product import int8_matmul


def int8_linear(linear: nn.Linear) -> nn.Module:
    """A module that computes what linear does, (..., K) to (..., N), with int8 weights.

    linear:  with or without bias; stays as it is
    returns: a module whose state dict holds the int8 codes, a scale per output channel, and no float weight
    """
    # TODO: ex05, step 1 of 2. Write an nn.Module of your own above, and return one here.
    raise NotImplementedError("ex05: int8_linear")


def swap_linears(model: nn.Module, skip: Collection[str] = ()) -> nn.Module:
    """A copy of model with every nn.Linear in it, at any depth, replaced by int8_linear of it.

    model:   any module, possibly itself a Linear; stays as it is
    skip:    full names, as model.named_modules() gives them, of Linears to leave in float. "" is a model's own name;
             one name of a Linear that hangs in two places is enough
    returns: a new model; a Linear that was used in two places is still one module used in two places
    """
    # TODO: ex05, step 2 of 2. Copy, then walk the tree. And if model itself is a Linear, or one hangs in two places?
    raise NotImplementedError("ex05: swap_linears")


def demonstration() -> None:
    """The same prompt, continued by the float32 GPT and by the swapped one."""
    from llm.checkpoint import load_gpt
    from llm.tokenizer import load_tokenizer

    gpt, tokenizer = load_gpt(), load_tokenizer()
    prompt = tokenizer.encode("ROMEO:\n")
    for what, model in (("float32", gpt), ("int8", swap_linears(gpt))):
        text = tokenizer.decode(model.generate(prompt, 60, temperature=0.8, top_k=50, seed=1))
        print(f"--- {what} ---\nROMEO:\n{text}\n")
    print(
        "Same seed, same dice: the texts part where two tokens are nearly as likely, and neither is the worse for it."
    )


if __name__ == "__main__":
    try:
        demonstration()
    except NotImplementedError as stub:
        print(f"not there yet: {stub}")
