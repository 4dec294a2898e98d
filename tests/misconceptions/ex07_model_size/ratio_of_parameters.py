"""Divides numbers of parameters. Where do int8 codes live?"""

# caught by: test_the_ratio_is_large_over_small
# says: called compression_ratio(a Linear with 800 outputs, int8 codes) ... got ... expected

import io

import torch


def saved_bytes(model):
    file = io.BytesIO()
    torch.save(model.state_dict(), file)
    return len(file.getvalue())


def compression_ratio(fp32_model, int8_model):
    return sum(p.nbytes for p in fp32_model.parameters()) / max(1, sum(p.nbytes for p in int8_model.parameters()))


def predicted_ratio(config):
    C, V, L = config.n_embd, config.vocab_size, config.n_layer
    hidden = config.ffn_mult * C
    weights = L * (4 * C * C + 2 * C * hidden) + V * C
    block_rows = L * (5 * C + hidden)
    scales = block_rows + V
    norms = (2 * L + 1) * C * (1 + config.bias)
    stays = (V + config.block_size) * C + norms + block_rows * config.bias
    return 4 * (weights + stays) / (weights + 4 * scales + 4 * stays)


def kv_cache_bytes(config, tokens, batch=1, bytes_per_value=4):
    return 2 * config.n_layer * batch * tokens * config.n_embd * bytes_per_value
