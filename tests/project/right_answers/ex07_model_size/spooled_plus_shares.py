"""SpooledTemporaryFile; the prediction as a weighted mean of what share of the file shrinks, ratio = 1 / (1 - share *
3/4)."""

import tempfile

import torch


def saved_bytes(model):
    with tempfile.SpooledTemporaryFile(max_size=1 << 20) as file:
        torch.save(model.state_dict(), file)
        return file.tell()


def compression_ratio(fp32_model, int8_model):
    return 1 / (saved_bytes(int8_model) / saved_bytes(fp32_model))


def predicted_ratio(config):
    C, L, V = config.n_embd, config.n_layer, config.vocab_size
    linear = L * (4 + 2 * config.ffn_mult) * C**2 + V * C
    rest = V * C + config.block_size * C + (2 * L + 1) * 2 * C + L * (5 + config.ffn_mult) * C
    share = linear / (linear + rest)
    scales = (L * (5 + config.ffn_mult) * C + V) / (linear + rest)
    return 1 / (1 - share * 3 / 4 + scales)


def kv_cache_bytes(config, tokens, batch=1, bytes_per_value=4):
    per_token = config.n_layer * config.n_embd * 2 * bytes_per_value
    return per_token * tokens * batch
