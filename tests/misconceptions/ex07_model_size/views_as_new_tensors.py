"""Saves a contiguous copy of each tensor. What does torch.save write of a view?"""

# caught by: test_saved_bytes_are_those_of_the_file
# says: called saved_bytes(a view of every second column) got ... bytes expected ... bytes

import io

import torch


def saved_bytes(model):
    state = model.state_dict()
    for name, value in state.items():
        if isinstance(value, torch.Tensor) and not value.is_contiguous():
            state[name] = value.contiguous()
    file = io.BytesIO()
    torch.save(state, file)
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
    return 2 * config.n_layer * batch * tokens * config.n_embd * bytes_per_value
