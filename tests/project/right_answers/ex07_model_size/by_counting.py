"""Adds up storages, each once, and adds an overhead per tensor: no file is made, except for what is no plain tensor."""

import io

import torch


def saved_bytes(model):
    state, storages, names = model.state_dict(), {}, 0
    if any(not isinstance(v, torch.Tensor) or v.is_quantized for v in state.values()):
        file = io.BytesIO()
        torch.save(state, file)
        return file.tell()
    for name, t in state.items():
        storages[t.untyped_storage().data_ptr()] = t.untyped_storage().nbytes()
        names += len(name)
    return sum(storages.values()) + 900 + 300 * len(storages) + names


def compression_ratio(fp32_model, int8_model):
    return float(saved_bytes(fp32_model)) / float(saved_bytes(int8_model))


def predicted_ratio(config):
    c, v, l, f, b = config.n_embd, config.vocab_size, config.n_layer, config.ffn_mult, int(config.bias)
    linears = [(3 * c, c), (c, c), (f * c, c), (c, f * c)] * l + [(v, c)]
    floats = (v + config.block_size) * c + (2 * l + 1) * c * (1 + b) + b * l * (3 * c + c + f * c + c)
    fp32 = 4 * floats + sum(4 * n * k for n, k in linears)
    return fp32 / (4 * floats + sum(n * k + 4 * n for n, k in linears))


def kv_cache_bytes(config, tokens, batch=1, bytes_per_value=4):
    return 2 * (config.n_layer * (batch * (tokens * config.n_embd))) * bytes_per_value
