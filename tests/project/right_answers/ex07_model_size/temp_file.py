"""A real file in a temporary folder; predicted_ratio from a GPT on the meta device."""

import os
import tempfile

import torch
from torch import nn

from llm.model import GPT


def saved_bytes(model):
    with tempfile.TemporaryDirectory() as folder:
        path = os.path.join(folder, "model.pt")
        torch.save(model.state_dict(), path)
        return os.path.getsize(path)


def compression_ratio(fp32_model, int8_model):
    return saved_bytes(fp32_model) / saved_bytes(int8_model)


def predicted_ratio(config):
    with torch.device("meta"):
        gpt = GPT(config)
    before = after = 0
    for module in gpt.modules():
        for name, p in module.named_parameters(recurse=False):
            before += 4 * p.numel()
            after += p.numel() + 4 * p.shape[0] if isinstance(module, nn.Linear) and name == "weight" else 4 * p.numel()
    return before / after


def kv_cache_bytes(config, tokens, batch=1, bytes_per_value=4):
    return bytes_per_value * config.n_embd * tokens * batch * config.n_layer * 2
