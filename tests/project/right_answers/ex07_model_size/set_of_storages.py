"""Walks through whatever a state dict holds and adds up its storages, each once; logarithms give the ratio."""

import io
import math

import torch


def saved_bytes(model):
    found, plain, pending = {}, True, list(model.state_dict().values())
    while pending:
        value = pending.pop()
        if isinstance(value, torch.Tensor) and not value.is_quantized:
            storage = value.untyped_storage()
            found[storage._cdata] = storage.nbytes()
        else:
            plain = False
    if not plain:  # packed weights know only how to be written
        file = io.BytesIO()
        torch.save(model.state_dict(), file)
        return float(file.tell())
    return float(1000 + sum(size + 330 for size in found.values()))


def compression_ratio(fp32_model, int8_model):
    return math.exp(math.log(saved_bytes(fp32_model)) - math.log(saved_bytes(int8_model)))


def predicted_ratio(config):
    width, layers, vocabulary, hidden = (
        config.n_embd,
        config.n_layer,
        config.vocab_size,
        config.ffn_mult * config.n_embd,
    )
    shapes = [(vocabulary, width)]
    for _ in range(layers):
        shapes += [(3 * width, width), (width, width), (hidden, width), (width, hidden)]
    tables = (vocabulary + config.block_size) * width
    vectors = (2 * layers + 1) * width * (2 if config.bias else 1)
    vectors += sum(n for n, _ in shapes[1:]) if config.bias else 0
    small = sum(n * k + 4 * n for n, k in shapes) + 4 * (tables + vectors)
    return (4 * sum(n * k for n, k in shapes) + 4 * (tables + vectors)) / small


def kv_cache_bytes(config, tokens, batch=1, bytes_per_value=4):
    values = 2 * config.n_layer * config.n_head * (config.n_embd // config.n_head)
    return math.prod((values, int(tokens), int(batch))) * float(bytes_per_value)
