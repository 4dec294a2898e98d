"""tempfile.TemporaryFile and tell; the prediction counts parameters of blocks built for one layer on meta."""

import dataclasses
import tempfile

import torch
from torch import nn

from llm.model import Block


def saved_bytes(model):
    with tempfile.TemporaryFile() as file:
        torch.save(model.state_dict(), file)
        file.seek(0, 2)
        return float(file.tell())


def compression_ratio(fp32_model, int8_model):
    a, b = map(saved_bytes, (fp32_model, int8_model))
    return a / b


def predicted_ratio(config):
    with torch.device("meta"):
        block = Block(dataclasses.replace(config))
        head = nn.Linear(config.n_embd, config.vocab_size, bias=False)
    layers = [(m, config.n_layer) for m in block.modules() if isinstance(m, nn.Linear)] + [(head, 1)]
    weights = sum(m.weight.numel() * times for m, times in layers)
    rows = sum(m.out_features * times for m, times in layers)
    total = config.n_layer * sum(p.numel() for p in block.parameters()) + head.weight.numel()
    total += (config.vocab_size + config.block_size + 1 + config.bias) * config.n_embd
    return total / (total - 0.75 * weights + rows)


def kv_cache_bytes(config, tokens, batch=1, bytes_per_value=4):
    keys = torch.empty(config.n_layer, batch, tokens, config.n_embd, device="meta")
    return (keys.numel() + keys.numel()) * bytes_per_value
