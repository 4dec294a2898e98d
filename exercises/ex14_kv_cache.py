"""ex14  The KV cache: what a conversation costs

Generating a token needs the keys and values of all tokens before it. They are kept, or the whole text would be computed
again for every token: that is the KV cache. It grows with every token, 2 * layers * channels numbers each (ex07), and
for long texts and many readers it outgrows the weights. It can be quantized like everything else.

Keys and values arrive a few tokens at a time and what was stored must never change, so one scale for all of them is out
of the question: the next token may be larger. With a scale for every token of every head, each is quantized when it
arrives, once, and knows nothing of its neighbours:

    s[b, h, t] = max over d of |k[b, h, t, d]| / 127       D codes of a byte and one float32: (D + 4) / 4D of fp32

that is 0.27 at D = 64. Attention then reads reconstructions, float32 as before.

Below 8 bits keys and values part ways: keys have channels that are large in all tokens, and KIVI (Liu et al. 2024,
section 3) gives each channel of the keys scales of its own, one for every 32 tokens, while those of values stay with
their tokens. The newest keys then wait in float until their group is full. Is it worth that, at which width? When it
passes, run `python -m exercises.ex14_kv_cache`: keys per token and per channel, over 32 tokens and over all of them.
"""

if __name__ == "__main__" and not __package__:
    raise SystemExit("Run it from the project's folder as a module: python -m exercises.ex14_kv_cache")

import math

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from .ex02_per_channel import dequantize_per_channel, quantize_per_channel
from .ex04_int8_product import quantize_tokens


class Int8KVCache:
    """Keys and values of one layer as int8 codes, with a float32 scale for every token of every head.

    Letters: B batch, H heads, T new tokens, S tokens so far, D numbers a head.
    """

    def __init__(self):
        # TODO: ex14, step 1 of 4. Nothing is known yet: what do you keep?
        raise NotImplementedError("ex14: __init__")

    def append(self, k: Tensor, v: Tensor) -> None:
        """Add the keys and values of T new tokens, each (B, H, T, D); they stay as they are."""
        # TODO: ex14, step 2 of 4. ex04's quantize_tokens has one scale a token. Of which axis is that, here?
        raise NotImplementedError("ex14: append")

    def read(self) -> tuple[Tensor, Tensor]:
        """Keys and values of all tokens so far, one or more, in their order: two float32 tensors (B, H, S, D)."""
        # TODO: ex14, step 3 of 4. What attention wants: float32, all tokens so far.
        raise NotImplementedError("ex14: read")

    def nbytes(self) -> int:
        """Bytes of all tensors that it keeps: at most 0.30 of float32 at D = 64, room in advance included."""
        # TODO: ex14, step 4 of 4. Every tensor has .nbytes.
        raise NotImplementedError("ex14: nbytes")


class RoundedCache:
    """An experiment: float32 keys and values, rounded whenever they are read, with tokens known that come later.

    group: over how many tokens a channel of the keys shares a scale; None: keys have one a token, as values do
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
    """ex06's perplexity of a GPT whose attention reads every key and value back from a cache."""
    nats = 0.0
    for x, y in zip(tokens[:-1].split(context), tokens[1:].split(context), strict=True):
        logits = model(x[None], [new_cache() for _ in model.blocks])[0]
        nats += F.cross_entropy(logits, y, reduction="sum").item()
    return math.exp(nats / (len(tokens) - 1))


def demonstration() -> None:
    """Perplexity by width of the cache, keys per token and per channel; then the same greedy text from two caches."""
    from llm.checkpoint import load_gpt
    from llm.corpus import held_out_tokens
    from llm.model import KVCache
    from llm.tokenizer import load_tokenizer

    gpt, tokens, tokenizer = load_gpt().eval(), held_out_tokens()[:2049], load_tokenizer()
    before = perplexity_with_caches(gpt, tokens, 256, KVCache)
    after = perplexity_with_caches(gpt, tokens, 256, Int8KVCache)
    print(f"float32                        perplexity {before:8.3f}")
    print(f"Int8KVCache                    perplexity {after:8.3f}   drift {after / before - 1:+8.2%}")
    for bits in (8, 4, 3, 2):
        for group, keys in ((None, "token"), (32, "channel of 32"), (256, "channel of 256")):
            after = perplexity_with_caches(gpt, tokens, 256, lambda b=bits, g=group: RoundedCache(b, g))
            what = f"{bits} bits, keys per {keys}"
            print(f"{what:<30} perplexity {after:8.3f}   drift {after / before - 1:+8.2%}")
    for what, new_cache in (("float32", KVCache), ("int8", Int8KVCache)):
        caches = [new_cache() for _ in gpt.blocks]
        text = tokenizer.decode(gpt.generate(tokenizer.encode("ROMEO:\n"), 60, 0, new_caches=lambda c=caches: c))
        print(
            f"--- {what}: {sum(cache.nbytes() for cache in caches):,} bytes for 60 tokens and the prompt ---\n{text}\n"
        )


if __name__ == "__main__":
    try:
        demonstration()
    except NotImplementedError as stub:
        print(f"not there yet: {stub}")
