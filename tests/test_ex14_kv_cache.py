"""ex14: keys and values as int8 codes, token by token or in blocks, and a GPT that hardly notices."""

import pytest
import torch

from llm.checkpoint import load_gpt
from llm.evaluate import window_nats
from llm.model import KVCache
from tests import oracle
from tests.gpt import CONTEXT, drift, some_text
from tests.messages import check_number, check_pair, check_tensor, check_unchanged, describe, fail, percent

WINDOWS = 8
LONG = {"192": (192,), "64 single": (1,) * 64, "128 mixed": (62, 1, 1, 64)}  # tokens of each append
ALONE = "Does every token of every head have a scale of its own, and does what was stored stay as it was?"
KEPT = "What keeps memory: the tensors you count, the storage they look at, or something you forgot to count?"


def some_pair(B, H, T, D, rng):
    """Keys and values, each (B, H, T, D): heads and tokens of very different size."""
    sizes = 10 ** (3 * torch.rand(2, B, H, T, 1, generator=rng) - 2)
    return tuple(torch.randn(2, B, H, T, D, generator=rng) * sizes)


def stored(student, pairs, called):
    """A cache that got these pairs in their order, none of which changed."""
    cache = student.Int8KVCache()
    for k, v in pairs:
        cache.append(k, v)
        check_unchanged(k, student.view(k), f"{called}.append(k, v), k")
        check_unchanged(v, student.view(v), f"{called}.append(k, v), v")
    return cache


def read(cache, shape, called, think=""):
    result = check_pair(cache.read(), f"{called}, read()", "(k, v)")
    return [check_tensor(t, f"{called}, read()[{i}]", shape, torch.float32, think) for i, t in enumerate(result)]


class Watched:
    """A student's cache as attention uses it; what it reads has to be as much as was appended."""

    def __init__(self, student, called):
        self.cache, self.called, self.tokens = student.Int8KVCache(), called, 0

    def append(self, k, v):
        self.cache.append(k, v)
        self.tokens += k.shape[2]
        self.shape = (*k.shape[:2], self.tokens, k.shape[3])

    def read(self):
        return read(self.cache, self.shape, self.called)


def in_blocks(pair, sizes):
    return list(zip(*(tensor.split(list(sizes), dim=2) for tensor in pair), strict=True))


def check_tokens(got, want, called, what):
    """Each token of each head within half a step of its own scale."""
    step = want.double().abs().amax(dim=-1, keepdim=True) / 127
    error, allowed = (got.double() - want.double()).abs(), step * (0.5 * oracle.HALF_STEP + oracle.HALF_SCALE)
    wrong = ~(error <= allowed)
    if wrong.any():
        i = tuple(wrong.nonzero()[0])
        where = ", ".join(f"{name} {int(k)}" for name, k in zip(("batch", "head", "token", "number"), i, strict=True))
        fail(
            f"{called}, {what}",
            f"{got[i]:.6g} for {want[i]:.6g}, {where} ({int(wrong.sum()):,} of {wrong.numel():,} too far off)",
            f"within {float(allowed.expand_as(error)[i]):.3g}: half a step of this token's own scale in this head",
            ALONE,
        )


def read_back(student, pair, sizes, called):
    """k and v as they are read once they were appended in blocks of these sizes, and every token is right."""
    got = read(stored(student, in_blocks(pair, sizes), called), tuple(pair[0].shape), called)
    for tensor, want, what in zip(got, pair, "kv", strict=True):
        check_tokens(tensor, want, called, what)
    return got


SHAPE = pytest.mark.parametrize("shape", [(1, 8, 12, 64), (2, 3, 5, 16), (3, 1, 1, 32)], ids=str)


@pytest.mark.points(1)
@SHAPE
def test_what_is_read_is_what_was_appended(student, rng, shape):
    """What is read is what was appended, within half a step of each token."""
    read_back(student, some_pair(*shape, rng), shape[2:3], f"Int8KVCache() with one append of {shape}")


@pytest.mark.points(1)
@SHAPE
def test_zeros_are_read_as_zeros(student, shape):
    """Zeros are read as zeros."""
    zeros, called = torch.zeros(shape), f"Int8KVCache() with one append of {shape}, all zeros"
    for got in read(stored(student, [(zeros, zeros)], called), shape, called):
        if got.any():
            fail(called, describe(got), "zeros", oracle.ZEROS)


@pytest.mark.points(1)
def test_eight_bits_tell_256_numbers_apart(student, rng):
    """A token has at most 256 different values, since 8 bits have no more codes."""
    shape = (1, 2, 3, 4096)
    called = f"Int8KVCache() with one append of {shape}"
    for got, what in zip(read_back(student, some_pair(*shape, rng), shape[2:3], called), "kv", strict=True):
        most = max(len(token.unique()) for token in got.flatten(0, 2))
        think = "What is stored: codes and a scale, or the numbers themselves?"
        if not most <= 256:
            fail(f"{called}, {what}", f"{most:,} values in a token", "at most 256, of 8 bits", think)


@pytest.mark.points(1)
def test_one_at_a_time_or_in_blocks_is_the_same(student, rng):
    """Tokens that come one at a time or in blocks are stored alike."""
    shape = (2, 4, 23, 64)
    pair = some_pair(*shape, rng)
    whole = read(stored(student, [pair], "Int8KVCache() with one append of 23 tokens"), shape, "Int8KVCache()")
    for sizes in ((1,) * 23, (7, 1, 1, 14), (16, 7)):
        called = f"Int8KVCache() with appends of {', '.join(map(str, sizes[:4]))}{', ...' * (len(sizes) > 4)} tokens"
        for got, want, what in zip(read_back(student, pair, sizes, called), whole, "kv", strict=True):
            same = torch.allclose(got, want, rtol=oracle.SAME_TOKEN, atol=0)
            most = (got - want).abs().max().item()
            if not same:
                fail(f"{called}, {what}", f"other values than of one append, by {most:.3g}", "the same", ALONE)
    for sizes in LONG.values():
        called = f"Int8KVCache() with {sum(sizes)} tokens in {len(sizes)} appends"
        read_back(student, some_pair(1, 8, sum(sizes), 64, rng), sizes, called)


@pytest.mark.points(1)
def test_what_is_stored_stays_as_it_was(student, rng):
    """What is stored stays as it was, whatever comes after."""
    shape = (1, 4, 6, 64)
    small, large = some_pair(*shape, rng), [t * 1e4 for t in some_pair(*shape, rng)]
    cache = stored(student, [small], "Int8KVCache()")
    before = read(cache, shape, "Int8KVCache()")
    cache.append(*large)
    called = "Int8KVCache(), after 6 tokens that are 10,000 times larger"
    after = read(cache, (1, 4, 12, 64), called)
    for got, was, new in zip(after, before, large, strict=True):
        if not torch.equal(got[:, :, :6], was):
            fail(called, "other values of the 6 tokens before", "the same", ALONE)
        check_tokens(got[:, :, 6:], new, called, "new tokens")


@pytest.mark.points(1)
def test_two_caches_share_nothing(student, rng):
    """Two caches share nothing."""
    pairs = [some_pair(1, 2, 5, 32, rng) for _ in range(2)]
    caches = [student.Int8KVCache() for _ in pairs]
    for part in range(5):
        for cache, pair in zip(caches, pairs, strict=True):
            cache.append(*in_blocks(pair, (1,) * 5)[part])
    for cache, pair in zip(caches, pairs, strict=True):
        called = "Int8KVCache(), one of two that take turns"
        think = "Where does a cache keep its tokens: in itself, or where others do too?"
        for got, want, what in zip(read(cache, (1, 2, 5, 32), called, think), pair, "kv", strict=True):
            check_tokens(got, want, called, what)


def filled(student, sizes, rng):
    """A cache of 8 heads, each number of tokens in one append, that was read; what was called; the pair."""
    tokens = sum(sizes)
    pair, called = some_pair(1, 8, tokens, 64, rng), f"Int8KVCache() with {tokens} tokens"
    cache = stored(student, in_blocks(pair, sizes), called)
    read(cache, (1, 8, tokens, 64), called)
    return cache, called, pair


def bytes_of(cache):
    """Of all tensors that it holds."""
    return sum({t.storage: t.nbytes for t in cache.held_tensors()}.values())


@pytest.mark.points(1)
@pytest.mark.parametrize("sizes", LONG.values(), ids=LONG)
def test_nbytes_counts_all_that_is_held(student, rng, sizes):
    """What nbytes() says is the memory of all tensors that are held."""
    cache, called, _ = filled(student, sizes, rng)
    said, held = check_number(cache.nbytes(), f"{called}.nbytes()"), bytes_of(cache)
    share, more = oracle.COUNTED
    if not abs(said - held) <= share * held + more:
        fail(f"{called}.nbytes()", f"{said:,.0f}", f"{held:,}, the bytes of all tensors it holds", KEPT)


@pytest.mark.points(1)
@pytest.mark.parametrize("sizes", LONG.values(), ids=LONG)
def test_it_takes_little_more_than_a_quarter_of_float32(student, rng, measured, sizes):
    """A cache takes little more memory than a quarter of float32."""
    cache, called, pair = filled(student, sizes, rng)
    held, codes, fp32 = bytes_of(cache), sum(t.numel() for t in pair), sum(t.nbytes for t in pair)
    if not held >= codes:
        fail(called, f"{held:,} bytes in all tensors that it holds", f"{codes:,} for the codes alone", KEPT)
    measured["cache, share of fp32"] = held / fp32
    if not held <= oracle.CACHE * fp32:
        expected = f"at most {oracle.CACHE:.2f} of {fp32:,}"
        fail(called, f"{held:,} bytes, {held / fp32:.2f} of float32", expected, KEPT)


@pytest.fixture(scope="module")
def gpt():
    return load_gpt().eval()


@pytest.mark.points(1)
@pytest.mark.timeout(300)
def test_a_gpt_says_the_same(student, gpt, rng):
    """A GPT chooses the same tokens, wherever it is sure of itself."""
    # fed with the text of the float32 cache, and compared where that is sure of itself: one early tie is no fault
    text = some_text(3, rng)
    for prompt in (1, 24, 40):
        ids = text[int(torch.randint(len(text), (), generator=rng)), :prompt].tolist()
        called = f"gpt with an Int8KVCache() a layer, greedy, after {prompt} tokens"
        plain, cached = [KVCache() for _ in gpt.blocks], [Watched(student, called) for _ in gpt.blocks]
        start, fresh, agreed, sure = 0, ids, 0, 0
        for _ in range(12):
            with torch.no_grad():
                want = gpt(torch.tensor([fresh]), plain, start)[0, -1]
                got = gpt(torch.tensor([fresh]), cached, start)[0, -1]
            start += len(fresh)
            best = want.topk(2).values
            decided = bool(best[0] - best[1] > oracle.SURE)
            sure, agreed = sure + decided, agreed + (decided and int(got.argmax()) == int(want.argmax()))
            fresh = [int(want.argmax())]
        if agreed != sure:
            fail(called, f"{agreed} of {sure} tokens as with float32", "all", ALONE)


@pytest.mark.points(1)
@pytest.mark.timeout(300)
def test_a_gpt_loses_next_to_nothing(student, gpt, rng, measured):
    """A GPT loses next to nothing."""
    text = some_text(WINDOWS, rng)
    first, called = CONTEXT // 2, f"gpt with an Int8KVCache() a layer, on {WINDOWS} windows of held-out text"

    def with_cache(ids):
        caches = [Watched(student, called) for _ in gpt.blocks]
        return torch.cat([gpt(ids[:, :first], caches), gpt(ids[:, first:], caches, first)], dim=1)

    change = drift(window_nats(with_cache, text), window_nats(gpt, text))
    measured["drift, int8 KV cache"] = change
    if not abs(change) < oracle.NO_DRIFT:
        fail(called, f"a drift of {change:+.2%}", f"less than {percent(oracle.NO_DRIFT)} either way", ALONE)
