"""ex14  The KV cache: what a conversation costs

To generate a token, attention needs the keys and values of all tokens before it. They are kept in the KV cache, or the
whole text would be computed again for every token. The cache grows with every token, by 2 * layers * channels numbers
(ex07). With long texts and many readers it becomes larger than the weights. It can be quantized, too.

Keys and values arrive a few tokens at a time, and what is stored must not change later. One scale for all tokens is
therefore impossible: the next token may be larger than all before it. So each token of each head gets a scale of its
own. It is quantized once, when it arrives, whatever its neighbours are:

    s[b, h, t] = max over d of |k[b, h, t, d]| / 127       and in the same way for v

That makes D codes of one byte and one float32 scale: (D + 4) / 4D of float32, which is 0.27 at D = 64. Attention reads
float32 tensors as before.

Below 8 bits, keys and values are treated differently. Keys have channels that are large in all tokens, so KIVI (Liu et
al. 2024, section 3) gives each channel of the keys its own scales, one for every group of tokens, 32 for instance.
Values keep a scale for each token. The price: the newest keys stay in float until their group is full. At which width
is that worth it? When it passes, run `.venv/bin/python -m exercises.ex14_kv_cache`.
"""

if __name__ == "__main__" and not __package__:
    raise SystemExit("Run it from the project's folder as a module: .venv/bin/python -m exercises.ex14_kv_cache")

import math

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from .ex02_per_channel import dequantize_per_channel, quantize_per_channel
from .ex04_int8_product import quantize_tokens


class Int8KVCache:
    """Keys and values of one layer as int8 codes, with a float32 scale for every token of every head.

    Letters: B texts in a batch, H heads, T new tokens, S tokens so far, D numbers of a token in a head.
    """

    def __init__(self):
        # TODO: ex14, step 1 of 4. B, H and D are not known yet. What will you keep?
        raise NotImplementedError("ex14: __init__")

    def append(self, k: Tensor, v: Tensor) -> None:
        """Add the keys and values of T new tokens; k and v stay as they are.

        k, v: (B, H, T, D), any floating-point precision; T may be 0, and S + T may be any number
        """
        # TODO: ex14, step 2 of 4. quantize_tokens of ex04 helps: for which axes of k does it make a scale each?
        raise NotImplementedError("ex14: append")

    def read(self) -> tuple[Tensor, Tensor]:
        """Keys and values of all tokens so far, S >= 1, in their order.

        returns: (k, v): two float32 tensors (B, H, S, D), which later calls leave as they are
        """
        # TODO: ex14, step 3 of 4. Attention needs float32, and all tokens so far.
        raise NotImplementedError("ex14: read")

    def nbytes(self) -> int:
        """Bytes of all tensors that the cache keeps now, room for later tokens included.

        At D = 64, at most 0.30 of float32, before and after read(): after 64 tokens, and at any time from 128 on.
        """
        # TODO: ex14, step 4 of 4. Every tensor has .nbytes.
        raise NotImplementedError("ex14: nbytes")


class RoundedCache:
    """For experiments only: keeps float32 keys and values, and rounds all of them in every read().

    bits:  2 to 8, of keys and values
    group: how many tokens share a scale in each channel of the keys; None: keys have a scale for each token, as values
    """

    def __init__(self, bits: int, group: int | None = None):
        self.bits, self.group, self.k, self.v = bits, group, [], []

    def append(self, k: Tensor, v: Tensor) -> None:
        self.k.append(k)
        self.v.append(v)

    def read(self) -> tuple[Tensor, Tensor]:
        k, v = torch.cat(self.k, dim=2), torch.cat(self.v, dim=2)
        groups = k.split(self.group, dim=2) if self.group else []
        by_channel = [self._rounded(part.transpose(2, 3)).transpose(2, 3) for part in groups]
        return torch.cat(by_channel, dim=2) if groups else self._rounded(k), self._rounded(v)

    def _rounded(self, x: Tensor) -> Tensor:
        rows = dequantize_per_channel(*quantize_per_channel(x.flatten(0, 2), self.bits))
        return rows.view_as(x)


@torch.no_grad()
def perplexity_with_caches(model: nn.Module, tokens: Tensor, context: int, new_cache) -> float:
    """ex06's perplexity of a GPT whose attention reads every key and value from a cache.

    new_cache: called without arguments, makes the cache of one layer
    """
    nats = 0.0
    for x, y in zip(tokens[:-1].split(context), tokens[1:].split(context), strict=True):
        logits = model(x[None], [new_cache() for _ in model.blocks])[0]
        nats += F.cross_entropy(logits, y, reduction="sum").item()
    return math.exp(nats / (len(tokens) - 1))


def demonstration() -> None:
    """The same greedy text from two kinds of cache; then perplexity by width, keys per token and per channel."""
    from llm.checkpoint import load_gpt
    from llm.corpus import held_out_tokens
    from llm.model import KVCache
    from llm.tokenizer import load_tokenizer

    print("This takes about 15 seconds.\n")
    gpt, tokens, tokenizer = load_gpt().eval(), held_out_tokens()[:2049], load_tokenizer()
    for what, new_cache in (("float32", KVCache), ("int8", Int8KVCache)):
        caches = [new_cache() for _ in gpt.blocks]
        text = tokenizer.decode(gpt.generate(tokenizer.encode("ROMEO:\n"), 30, 0, new_caches=lambda c=caches: c))
        size = sum(cache.nbytes() for cache in caches)
        print(f"--- {what}: {size:,} bytes for the prompt and 30 tokens ---\n{text}\n")
    before = perplexity_with_caches(gpt, tokens, 256, KVCache)
    after = perplexity_with_caches(gpt, tokens, 256, Int8KVCache)
    print(f"float32                         perplexity {before:8.3f}")
    print(f"Int8KVCache                     perplexity {after:8.3f}   drift {after / before - 1:+8.2%}")
    worth = []
    for bits in (4, 3, 2):
        drift = {}
        for group, keys in ((None, "token"), (32, "channel of 32"), (256, "channel of 256")):
            after = perplexity_with_caches(gpt, tokens, 256, lambda b=bits, g=group: RoundedCache(b, g))
            what, drift[group] = f"{bits} bits, keys per {keys}", after / before - 1
            print(f"{what:<31} perplexity {after:8.3f}   drift {drift[group]:+8.2%}")
        if drift[None] - drift[32] > 0.01:
            worth.append(f"{bits} bits ({drift[None]:+.1%} per token, {drift[32]:+.1%} per channel)")
    print("\nKeys with a scale per channel of 32 tokens save more than 1 % of the perplexity, and are worth")
    print(f"the wait in float, at {' and '.join(worth) or 'none of these widths'}.")


if __name__ == "__main__":
    try:
        demonstration()
    except NotImplementedError as stub:
        print(f"not there yet: {stub}")
