"""The GPT against the same computation in plain operators, and against itself."""

import math

import pytest
import torch
from torch import Tensor

from llm.model import GPT, GPTConfig
from tests.project.tiny import TINY, some_tokens, tiny_gpt


def plain_forward(model: GPT, ids: Tensor) -> Tensor:
    """model(ids) once more, ids (T,), logits (T, V): float64, elementary operations, one head after the other."""
    weights = {name: tensor.double() for name, tensor in model.state_dict().items()}
    T, C, D = len(ids), model.config.n_embd, model.config.n_embd // model.config.n_head

    def linear(x: Tensor, name: str) -> Tensor:
        return x @ weights[f"{name}.weight"].T + weights.get(f"{name}.bias", 0)

    def norm(x: Tensor, name: str) -> Tensor:
        x = x - x.mean(-1, keepdim=True)
        x = x / (x.square().mean(-1, keepdim=True) + 1e-5).sqrt()
        return x * weights[f"{name}.weight"] + weights.get(f"{name}.bias", 0)

    def attention(q: Tensor, k: Tensor, v: Tensor) -> Tensor:  # (T, D) each
        likeness = (q @ k.T / math.sqrt(D)).exp().tril()  # (T, T)
        return likeness / likeness.sum(1, keepdim=True) @ v

    x = weights["tok_emb.weight"][ids] + weights["pos_emb.weight"][:T]  # (T, C)
    for layer in range(model.config.n_layer):
        block = f"blocks.{layer}"
        q, k, v = linear(norm(x, f"{block}.ln_1"), f"{block}.attn.qkv").split(C, dim=1)
        heads = [attention(q[:, i : i + D], k[:, i : i + D], v[:, i : i + D]) for i in range(0, C, D)]
        x = x + linear(torch.cat(heads, dim=1), f"{block}.attn.proj")
        up = linear(norm(x, f"{block}.ln_2"), f"{block}.mlp.up")
        x = x + linear(up * (1 + torch.erf(up / math.sqrt(2))) / 2, f"{block}.mlp.down")
    return linear(norm(x, "ln_f"), "head")


@torch.no_grad()
def greedy_without_cache(model: GPT, ids: list[int], count: int) -> list[int]:
    """The contract of generate: a full context begins again from its later half."""
    ids, block = list(ids), model.config.block_size
    context = ids[-block:]
    for _ in range(count):
        if len(context) > block:
            context = ids[-block // 2 :]
        ids.append(int(model(torch.tensor([context]))[0, -1].argmax()))
        context = [*context, ids[-1]]
    return ids[-count:]


def close(a: Tensor, b: Tensor) -> bool:
    return torch.allclose(a, b, rtol=0, atol=1e-10)


@pytest.mark.parametrize("bias", [True, False], ids=["bias", "no-bias"])
def test_logits_are_those_of_plain_operators(bias):
    model, ids = tiny_gpt(bias=bias).double(), some_tokens(3, 8)
    assert close(model(ids), torch.stack([plain_forward(model, row) for row in ids]))


def test_the_default_shape_has_14_to_14_9_million_parameters():
    assert 14.0e6 <= sum(p.numel() for p in GPT(GPTConfig()).parameters()) <= 14.9e6


def test_the_state_dict_holds_parameters_and_nothing_else():
    model = tiny_gpt()
    assert not list(model.buffers())
    assert list(model.state_dict()) == [name for name, _ in model.named_parameters()]


def test_embedding_and_head_are_two_matrices():
    model = tiny_gpt()
    assert model.tok_emb.weight.data_ptr() != model.head.weight.data_ptr()


@pytest.mark.parametrize("position", [1, 4, 7])
def test_a_later_token_never_changes_an_earlier_logit(position):
    model, ids = tiny_gpt().double(), some_tokens(1, 8)
    changed = ids.clone()
    changed[0, position] = (ids[0, position] + 1) % TINY["vocab_size"]
    same = model(ids).isclose(model(changed), rtol=0, atol=1e-12).all(dim=2)[0]
    assert same[:position].all()
    assert not same[position:].any()


@pytest.mark.parametrize("blocks", [[1] * 8, [8], [3, 1, 4], [5, 3]], ids=str)
def test_cached_logits_equal_uncached_ones(blocks):
    model, ids = tiny_gpt().double(), some_tokens(2, 8)
    caches, start, parts = model.new_caches(), 0, []
    for length in blocks:
        parts.append(model(ids[:, start : start + length], caches, start))
        start += length
    assert close(torch.cat(parts, dim=1), model(ids))


@pytest.mark.parametrize("prompt", [1, 7, 8, 20], ids=lambda n: f"{n}-tokens")
@pytest.mark.parametrize("block_size", [8, 5, 1], ids=lambda n: f"context-{n}")
def test_greedy_generation_equals_the_same_without_a_cache(prompt, block_size):
    model, ids = tiny_gpt(block_size=block_size).double(), some_tokens(prompt).tolist()
    assert list(model.generate(ids, 30, temperature=0)) == greedy_without_cache(model, ids, 30)


def test_a_seed_repeats_a_text_and_another_gives_another():
    model = tiny_gpt()
    first, again, other = (list(model.generate([1], 50, seed=seed)) for seed in (7, 7, 8))
    assert first == again != other


def test_tokens_are_drawn_with_their_probability():
    model, draws = tiny_gpt(vocab_size=4), 1000
    model.head.weight.data *= 4  # probabilities that differ
    p = model(torch.tensor([[1]]))[0, -1].softmax(0)
    seen = torch.tensor([next(model.generate([1], 1, seed=seed)) for seed in range(draws)]).bincount(minlength=4)
    assert ((seen / draws - p).abs() < 4 * (p * (1 - p) / draws).sqrt()).all()


def test_temperature_divides_the_logits():
    hot, cold = tiny_gpt(), tiny_gpt()
    hot.head.weight.data /= 2
    assert list(cold.generate([1], 50, temperature=2, seed=0)) == list(hot.generate([1], 50, temperature=1, seed=0))


def test_hardly_any_temperature_is_greedy():
    model = tiny_gpt()
    assert list(model.generate([1], 20, temperature=1e-50)) == list(model.generate([1], 20, temperature=0))


def test_only_the_k_likeliest_tokens_are_drawn():
    model = tiny_gpt()
    likeliest = set(model(torch.tensor([[1]]))[0, -1].topk(3).indices.tolist())
    assert {next(model.generate([1], 1, 5.0, top_k=3, seed=seed)) for seed in range(200)} == likeliest


@pytest.mark.parametrize(
    "arguments",
    [{"ids": []}, {"temperature": -1}, {"temperature": math.nan}, {"temperature": math.inf}, {"top_k": 0}],
    ids=["empty prompt", "temperature below 0", "temperature nan", "temperature inf", "top_k 0"],
)
def test_generate_refuses(arguments):
    with pytest.raises(ValueError, match=r"empty|temperature|top_k"):
        list(tiny_gpt().generate(**{"ids": [1], "max_new_tokens": 1, **arguments}))


def test_a_context_that_does_not_fit_is_refused():
    model = tiny_gpt()
    with pytest.raises(ValueError, match="9 tokens do not fit into a context of 8"):
        model(some_tokens(1, 9))
    with pytest.raises(ValueError, match="9 tokens"):
        model(some_tokens(1, 2), model.new_caches(), start=7)


def test_a_width_that_the_heads_do_not_divide_is_refused():
    with pytest.raises(ValueError, match="n_embd=16 .* n_head=3"):
        GPTConfig(n_embd=16, n_head=3)


def test_dropout_is_for_training_only():
    model, ids = tiny_gpt(dropout=0.5), some_tokens(1, 8)
    assert torch.equal(model(ids), tiny_gpt()(ids))
    model.train()
    assert not torch.equal(model(ids), model(ids))


def test_a_cache_takes_two_floats_a_token_and_channel():
    model = tiny_gpt()
    caches = model.new_caches()
    assert [cache.nbytes() for cache in caches] == [0, 0]
    model(some_tokens(3, 5), caches)
    assert [cache.nbytes() for cache in caches] == [2 * 3 * 5 * 16 * 4] * 2
