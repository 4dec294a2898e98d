"""Adds up the entries of the zip archive and its directory; the parts of a config are counted on the meta device."""

import io
import zipfile

import torch
from torch import nn

from llm.model import GPT


def saved_bytes(model):
    file = io.BytesIO()
    torch.save(model.state_dict(), file)
    with zipfile.ZipFile(file) as archive:
        entries = archive.infolist()
        last = max(entries, key=lambda entry: entry.header_offset)
        return last.header_offset + last.file_size + sum(100 + len(entry.filename) for entry in entries) + 300


def compression_ratio(fp32_model, int8_model):
    return saved_bytes(fp32_model) * (1 / saved_bytes(int8_model))


def predicted_ratio(config):
    with torch.device("meta"):
        gpt = GPT(config)
    before = sum(p.nbytes for p in gpt.parameters())
    linears = [m for m in gpt.modules() if isinstance(m, nn.Linear)]
    saved = sum(3 * m.weight.numel() - 4 * m.out_features for m in linears)
    return torch.tensor(before / (before - saved))


def kv_cache_bytes(config, tokens, batch=1, bytes_per_value=4):
    return torch.as_tensor(bytes_per_value) * 2.0 * config.n_embd * tokens * batch * config.n_layer
