"""The GPT under test, from the smallest part to the whole; read it from top to bottom.

A pre-norm, decoder-only transformer in the manner of GPT-2 (Radford et al. 2019) with learned positions. Input
embedding and output head are two separate matrices: sharing one would make dynamic quantization store it twice.
Letters in shapes: B batch, T new tokens, S tokens seen so far, C channels (n_embd), H heads, D = C / H, V vocabulary.
"""

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn import functional as F


@dataclass(frozen=True)
class GPTConfig:
    vocab_size: int = 2048  # small on purpose: most parameters must sit in Linear layers, which is what int8 shrinks
    block_size: int = 256  # the longest context, because positions are a learned table
    n_layer: int = 4
    n_head: int = 8
    n_embd: int = 512  # wide rather than deep: int8 matrix products pay off from about this width
    ffn_mult: int = 4
    dropout: float = 0.0  # only for training
    bias: bool = True  # of the Linear and LayerNorm layers inside the blocks; the head never has one

    def __post_init__(self):
        if self.n_embd % self.n_head:
            raise ValueError(f"n_embd={self.n_embd} does not divide into n_head={self.n_head} heads")


class KVCache:
    """Keys and values of one layer, in float32: the simplest thing that works."""

    def __init__(self):
        self.k: Tensor | None = None  # (B, H, S, D)
        self.v: Tensor | None = None

    def append(self, k: Tensor, v: Tensor) -> None:
        """Add the keys and values, each (B, H, T, D), of T new tokens."""
        self.k = k if self.k is None else torch.cat([self.k, k], dim=2)
        self.v = v if self.v is None else torch.cat([self.v, v], dim=2)

    def read(self) -> tuple[Tensor, Tensor]:
        """Everything appended so far: two float32 tensors (B, H, S, D)."""
        return self.k, self.v

    def nbytes(self) -> int:
        return 0 if self.k is None else self.k.nbytes + self.v.nbytes


class Attention(nn.Module):
    """Causal self-attention (Vaswani et al. 2017, section 3.2), the three projections in one matrix."""

    def __init__(self, config: GPTConfig):
        super().__init__()
        self.n_head = config.n_head
        self.qkv = nn.Linear(config.n_embd, 3 * config.n_embd, bias=config.bias)
        self.proj = nn.Linear(config.n_embd, config.n_embd, bias=config.bias)

    def forward(self, x: Tensor, cache: KVCache | None = None) -> Tensor:
        B, T, C = x.shape
        heads = (B, T, self.n_head, C // self.n_head)
        q, k, v = (part.view(heads).transpose(1, 2) for part in self.qkv(x).split(C, dim=2))  # (B, H, T, D) each
        if cache is not None:
            cache.append(k, v)
            k, v = cache.read()  # (B, H, S, D)
        S = k.shape[2]
        # A token may look at itself and back. With a cache the T queries are the last T of S rows of that triangle.
        mask = None if S == T or T == 1 else torch.ones(T, S, dtype=torch.bool, device=x.device).tril(S - T)
        y = F.scaled_dot_product_attention(q, k, v, mask, is_causal=S == T and T > 1)
        return self.proj(y.transpose(1, 2).reshape(B, T, C))


class MLP(nn.Module):
    def __init__(self, config: GPTConfig):
        super().__init__()
        self.up = nn.Linear(config.n_embd, config.ffn_mult * config.n_embd, bias=config.bias)
        self.down = nn.Linear(config.ffn_mult * config.n_embd, config.n_embd, bias=config.bias)

    def forward(self, x: Tensor) -> Tensor:
        return self.down(F.gelu(self.up(x)))


class Block(nn.Module):
    def __init__(self, config: GPTConfig):
        super().__init__()
        self.ln_1 = nn.LayerNorm(config.n_embd, bias=config.bias)
        self.attn = Attention(config)
        self.ln_2 = nn.LayerNorm(config.n_embd, bias=config.bias)
        self.mlp = MLP(config)
        self.drop = nn.Dropout(config.dropout)

    def forward(self, x: Tensor, cache: KVCache | None = None) -> Tensor:
        x = x + self.drop(self.attn(self.ln_1(x), cache))
        return x + self.drop(self.mlp(self.ln_2(x)))


class GPT(nn.Module):
    def __init__(self, config: GPTConfig):
        super().__init__()
        self.config = config
        self.tok_emb = nn.Embedding(config.vocab_size, config.n_embd)
        self.pos_emb = nn.Embedding(config.block_size, config.n_embd)
        self.drop = nn.Dropout(config.dropout)
        self.blocks = nn.ModuleList(Block(config) for _ in range(config.n_layer))
        self.ln_f = nn.LayerNorm(config.n_embd, bias=config.bias)
        self.head = nn.Linear(config.n_embd, config.vocab_size, bias=False)
        self.apply(_initialize)
        for block in self.blocks:  # 2 additions to the residual stream a layer: keep its variance (GPT-2, section 2.3)
            for out in (block.attn.proj, block.mlp.down):
                nn.init.normal_(out.weight, std=0.02 / math.sqrt(2 * config.n_layer))

    def forward(self, ids: Tensor, caches: Sequence[KVCache] | None = None, start: int = 0) -> Tensor:
        """Logits of the next token, after every token.

        ids:     (B, T) int64, T up to block_size - start
        caches:  one cache a layer (new_caches), already holding `start` tokens; None: ids are the whole context
        returns: (B, T, V) logits
        raises:  ValueError where the context does not fit
        """
        B, T = ids.shape
        if start + T > self.config.block_size:
            raise ValueError(f"{start + T} tokens do not fit into a context of {self.config.block_size}")
        positions = torch.arange(start, start + T, device=ids.device)
        x = self.drop(self.tok_emb(ids) + self.pos_emb(positions))  # (B, T, C)
        for layer, block in enumerate(self.blocks):
            x = block(x, None if caches is None else caches[layer])
        return self.head(self.ln_f(x))  # (B, T, V)

    def new_caches(self) -> list[KVCache]:
        return [KVCache() for _ in self.blocks]

    @torch.no_grad()
    def generate(
        self,
        ids: Sequence[int],
        max_new_tokens: int,
        temperature: float = 1.0,
        top_k: int | None = None,
        seed: int | None = None,
        new_caches=None,
    ) -> Iterator[int]:
        """Yields max_new_tokens sampled tokens one by one, at one token's work each.

        ids:         the prompt, at least one token
        temperature: 0 is greedy
        top_k:       sample among the k likeliest only
        new_caches:  makes one KV cache a layer; the default is float32 (self.new_caches)
        raises:      ValueError for an empty prompt, a temperature that is negative or not finite, or a top_k below 1
        """
        ids = list(ids)
        if not ids:
            raise ValueError("the prompt is empty: give at least one token")
        if not 0 <= temperature < math.inf:
            raise ValueError(f"temperature is {temperature}: use 0 (greedy) or more")
        if top_k is not None and top_k < 1:
            raise ValueError(f"top_k is {top_k}: use 1 or more")
        device = self.tok_emb.weight.device
        generator = torch.Generator(device)
        generator.seed() if seed is None else generator.manual_seed(seed)
        block, caches, start = self.config.block_size, None, 0
        fresh = ids[-block:]
        for _ in range(max_new_tokens):
            if caches is None or start + len(fresh) > block:
                # First round, or the position table is used up: begin again from the later half of the context.
                fresh = ids[-block:] if caches is None else ids[-block // 2 :]
                caches, start = (new_caches or self.new_caches)(), 0
            logits = self(torch.tensor([fresh], device=device), caches, start)[0, -1]  # (V,)
            start += len(fresh)
            fresh = [_sample(logits.float(), temperature, top_k, generator)]
            ids += fresh
            yield fresh[0]


def _sample(logits: Tensor, temperature: float, top_k: int | None, generator: torch.Generator) -> int:
    if temperature == 0:
        return int(logits.argmax())
    if top_k is not None and top_k < len(logits):
        logits = logits.masked_fill(logits < logits.topk(top_k).values[-1], -math.inf)
    logits = (logits - logits.max()).double() / temperature  # never above 0, so that no temperature is too small
    return int(torch.multinomial(F.softmax(logits, dim=-1), 1, generator=generator))


def _initialize(module: nn.Module) -> None:
    if isinstance(module, nn.Linear | nn.Embedding):
        nn.init.normal_(module.weight, std=0.02)
    if isinstance(module, nn.Linear) and module.bias is not None:
        nn.init.zeros_(module.bias)
