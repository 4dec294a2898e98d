"""A file-like object that only counts what is written; heads times their width in the cache."""

import torch


class Counter:
    def __init__(self):
        self.count = 0

    def write(self, data):
        size = memoryview(data).nbytes
        self.count += size
        return size

    def flush(self):
        pass


def saved_bytes(model):
    counter = Counter()
    torch.save(model.state_dict(), counter)
    return torch.tensor(counter.count)


def compression_ratio(fp32_model, int8_model):
    return saved_bytes(fp32_model).double() / saved_bytes(int8_model)


def predicted_ratio(config):
    C, H = config.n_embd, config.ffn_mult * config.n_embd
    w = config.n_layer * (4 * C * C + 2 * C * H) + config.vocab_size * C
    e = (config.vocab_size + config.block_size) * C
    return (w + e) / (w / 4 + e + w / C)  # about one scale for every C weights; biases and norms are too small to count


def kv_cache_bytes(config, tokens, batch=1, bytes_per_value=4):
    head = config.n_embd // config.n_head
    one = torch.Size((batch, config.n_head, tokens, head)).numel()
    return float(sum(2 * one * bytes_per_value for _ in range(config.n_layer)))
