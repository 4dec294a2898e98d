"""An unbuffered temporary file, asked by seek; the cache is measured on tensors of the meta device."""

import os
import tempfile

import torch


def saved_bytes(model):
    descriptor, name = tempfile.mkstemp()
    try:
        with os.fdopen(descriptor, "wb", buffering=0) as file:
            torch.save(model.state_dict(), file)
            return file.seek(0, os.SEEK_END)
    finally:
        os.unlink(name)


def compression_ratio(fp32_model, int8_model):
    large, small = (torch.tensor(saved_bytes(model), dtype=torch.float64) for model in (fp32_model, int8_model))
    return large / small


def predicted_ratio(config):
    C, V, T, L = config.n_embd, config.vocab_size, config.block_size, config.n_layer
    H = config.ffn_mult * C
    int8 = L * (4 * C * C + 2 * C * H) + V * C  # one byte a weight
    scales = L * (5 * C + H) + V
    rest = (V + T) * C + 2 * (2 * L + 1) * C + L * (5 * C + H)  # with biases, which are few
    return (4.0 * int8 + 4.0 * rest) / (int8 + 4.0 * scales + 4.0 * rest)


def kv_cache_bytes(config, tokens, batch=1, bytes_per_value=4):
    head = config.n_embd // config.n_head
    one = torch.empty(int(batch), config.n_head, int(tokens), head, device="meta")
    return sum(one.numel() * bytes_per_value for _ in range(2 * config.n_layer))
