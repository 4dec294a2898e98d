"""Knows a storage by the address of its tensor. At which address does the second half of a tensor begin?"""

# caught by: test_saved_bytes_are_those_of_the_file
# says: called saved_bytes(two views of one tensor) got ... bytes expected ... bytes

import io

import torch


def saved_bytes(model):
    state = model.state_dict()
    if any(not isinstance(value, torch.Tensor) for value in state.values()):
        file = io.BytesIO()
        torch.save(state, file)
        return len(file.getvalue())
    storages = {t.data_ptr(): t.untyped_storage().nbytes() for t in state.values()}
    return sum(storages.values()) + 900 + 300 * len(storages)


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
    return 2 * config.n_layer * batch * tokens * config.n_embd * bytes_per_value
