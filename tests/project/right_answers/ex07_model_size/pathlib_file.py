"""pathlib's stat of a named file, 0-dim tensors as ratios."""

import pathlib
import tempfile

import torch

from llm.model import GPTConfig


def saved_bytes(model):
    folder = pathlib.Path(tempfile.mkdtemp())
    path = folder / "state"
    try:
        with path.open("wb") as file:
            torch.save(model.state_dict(), file)
        return path.stat().st_size
    finally:
        path.unlink(missing_ok=True)
        folder.rmdir()


def compression_ratio(fp32_model, int8_model):
    return torch.tensor(saved_bytes(fp32_model)) / torch.tensor(saved_bytes(int8_model))


def predicted_ratio(config: GPTConfig):
    C, L, V = config.n_embd, config.n_layer, config.vocab_size
    F = C * config.ffn_mult
    matrices = torch.tensor([[3 * C, C], [C, C], [F, C], [C, F]] * L + [[V, C]], dtype=torch.float64)
    weights, rows = matrices.prod(1).sum(), matrices[:, 0].sum()
    other = (V + config.block_size) * C + (rows - V + (2 * L + 1) * C) * config.bias + (2 * L + 1) * C
    return (4 * weights + 4 * other) / (weights + 4 * rows + 4 * other)


def kv_cache_bytes(config, tokens, batch=1, bytes_per_value=4):
    return torch.tensor(2.0 * config.n_layer * config.n_embd).double() * tokens * batch * bytes_per_value
