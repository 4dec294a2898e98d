"""Never counts more tokens than the context holds. How many tokens were asked about?"""

# caught by: test_a_kv_cache_grows_with_every_token
# says: called kv_cache_bytes(GPTConfig(), 1000) ... got ... expected ... batch 1 and float32 by default

import io

import torch


def saved_bytes(model):
    file = io.BytesIO()
    torch.save(model.state_dict(), file)
    return len(file.getvalue())


def compression_ratio(fp32_model, int8_model):
    return saved_bytes(fp32_model) / saved_bytes(int8_model)


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
    return 2 * config.n_layer * batch * min(tokens, config.block_size) * config.n_embd * bytes_per_value
