"""ex07  Model size: four times smaller, or three

int8 takes a quarter of the bytes of float32, yet the file does not shrink to a quarter. Embeddings, LayerNorms and
biases stay in float32, every row brings a scale, and the file format adds a little for each tensor. What a model costs
on disk is what torch.save writes of its state dict, so measure that. To count parameters misses buffers, where int8
codes live; to count four bytes for each number misses that a code takes one. And of a tensor that is a view of a larger
one, torch.save writes the whole storage.

    ratio = bytes of the float32 file / bytes of the int8 file

The shape of a model alone predicts this ratio. Of the parameters of the GPT here, 92 % are Linear weights, and it gets
3.2 times smaller. With a vocabulary of 50,257 and a width of 128, as in the course this kata goes back to, 53 % are;
nearly all others are embeddings, and the ratio is only 1.64. "Half the memory" compares with half precision, in which
checkpoints are shipped. Here the int8 file is 63 % of the float16 file, because embeddings stay in float32.

Generating text costs memory a second time: for every token so far, each layer keeps a key and a value of C numbers.
When it passes, run `.venv/bin/python -m exercises.ex07_model_size`.
"""

if __name__ == "__main__" and not __package__:
    raise SystemExit("Run it from the project's folder as a module: .venv/bin/python -m exercises.ex07_model_size")

import io

import torch
from torch import nn

from llm.model import GPT, GPTConfig

from .ex05_linear_swap import swap_linears


def saved_bytes(model: nn.Module) -> int:
    """Bytes of the file that torch.save(model.state_dict()) writes.

    model:   any module; also one that PyTorch quantized, whose state dict holds more than plain tensors
    returns: a number, within 1 percent + 4 KiB
    """
    file = io.BytesIO()
    torch.save(model.state_dict(), file)
    return file.getbuffer().nbytes


def compression_ratio(fp32_model: nn.Module, int8_model: nn.Module) -> float:
    """How many times smaller the second model is on disk.

    returns: a number: above 1 where int8_model is the smaller one, below 1 where it is the larger one
    """
    return saved_bytes(fp32_model) / saved_bytes(int8_model)


def predicted_ratio(config: GPTConfig) -> float:
    """compression_ratio of a GPT of this shape and its swap_linears copy, without building either.

    config:  llm/model.py lists what a GPT of a config holds
    returns: a number, within 3 percent for a width of 128 or more and 2 million parameters or more
    """
    C, V, L = config.n_embd, config.vocab_size, config.n_layer
    hidden = config.ffn_mult * C
    weights = L * (3 * C * C + C * C + 2 * C * hidden) + V * C  # qkv, proj, up and down of each layer; the head
    block_rows = L * (3 * C + C + hidden + C)
    rows = block_rows + V  # one scale each
    norms = (2 * L + 1) * C * (1 + config.bias)
    biases = block_rows * config.bias
    stays_float = (V + config.block_size) * C + norms + biases  # embeddings of tokens and positions
    return 4 * (weights + stays_float) / (weights + 4 * rows + 4 * stays_float)


def kv_cache_bytes(config: GPTConfig, tokens: int, batch: int = 1, bytes_per_value: float = 4) -> float:
    """Bytes that the keys and values of `tokens` tokens take, in all layers.

    tokens:          any number; what a cache costs has nothing to do with config.block_size
    batch:           sequences held at once
    bytes_per_value: 4 for float32, 1 for int8, 0.5 for int4 (scales not counted)
    returns:         a number
    """
    return 2 * config.n_layer * batch * tokens * config.n_embd * bytes_per_value


def demonstration() -> None:
    """Sizes on disk, this GPT beside the course's own shape, and KV caches."""
    from llm.checkpoint import load_gpt

    gpt = load_gpt()
    int8, half = swap_linears(gpt), load_gpt().half()
    for what, model in (("float32", gpt), ("float16", half), ("int8", int8)):
        print(f"{what:<8} {saved_bytes(model) / 2**20:6.1f} MiB   {compression_ratio(gpt, model):.2f}x smaller")
    print(f"The int8 file is {saved_bytes(int8) / saved_bytes(half):.0%} of the float16 file.")
    print("\nshape               Linear weights   embeddings   predicted")
    course = GPTConfig(vocab_size=50257, n_layer=4, n_head=4, n_embd=128)
    for what, config in (("this GPT", gpt.config), ("the course's shape", course)):
        with torch.device("meta"):  # shapes without numbers
            modules = list(GPT(config).modules())
        counts = [sum(m.weight.numel() for m in modules if isinstance(m, kind)) for kind in (nn.Linear, nn.Embedding)]
        shares = [count / sum(p.numel() for p in modules[0].parameters()) for count in counts]
        print(f"{what:<18}  {shares[0]:14.0%}   {shares[1]:10.0%}   {predicted_ratio(config):8.2f}x")
    print("1 billion parameters, all of them quantized: float32 4 GB, int8 1 GB, int4 0.5 GB\n")
    for batch in (1, 64):
        cost = [kv_cache_bytes(gpt.config, 256, batch, size) / 2**20 for size in (4, 1)]
        print(f"KV cache of 256 tokens, batch {batch:>2}: float32 {cost[0]:5.1f} MiB, int8 {cost[1]:4.1f} MiB")
    print("\nThe larger the share of Linear weights, the closer the ratio gets to 4.")


if __name__ == "__main__":
    demonstration()
