"""ex14: keys and values are kept as int8 codes, however tokens arrive, and a GPT hardly notices."""

import pytest
import torch

from llm.checkpoint import load_gpt
from llm.evaluate import window_nats
from llm.model import KVCache
from tests import oracle
from tests.gpt import CONTEXT, drift, some_text
from tests.laws import laws
from tests.messages import check_number, check_pair, check_tensor, check_unchanged, describe, fail, percent
from tests.values_alone import OBJECTS, ORDER, layouts

WINDOWS = 8
SHAPES = [(1, 8, 12, 64), (2, 3, 5, 16), (3, 1, 1, 32)]  # (B, H, T, D)
ENOUGH = 128  # tokens
LONG = {"192": (192,), "64 single": (1,) * 64, "128 mixed": (62, 1, 1, 64)}  # tokens of each append
ALONE = "Does every token of every head have a scale of its own, and do stored tokens stay as they were?"
KEPT = "Which tensors does the cache keep, views and tensors of an earlier append included, and which does it count?"
WAITING = "Does the cache keep anything in float: until somebody reads, or after it was read?"
WINDOW = "How many tokens may come, and what happens to the oldest of them?"
EQUAL = "What is max - min of such a token, and what do you divide by?"
OWN = "Does read() return new tensors in every call, or tensors that the cache keeps and fills again?"


def some_pair(B, H, T, D, rng):
    """Keys and values, each (B, H, T, D): heads and tokens of very different size, 0.01 to 10."""
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


def check_tokens(got, want, called, what, think=ALONE):
    """Each token of each head within half a step of its own scale."""
    want = oracle.exact(want)
    step = want.abs().amax(dim=-1, keepdim=True) / 127
    error, allowed = (got.double() - want).abs(), step * (0.5 * oracle.HALF_STEP + oracle.HALF_SCALE)
    wrong = ~(error <= allowed)
    if wrong.any():
        i = tuple(wrong.nonzero()[0])
        where = ", ".join(f"{name} {int(k)}" for name, k in zip(("batch", "head", "token", "number"), i, strict=True))
        fail(
            f"{called}, {what}",
            f"{got[i]:.6g} where {want[i]:.6g} was appended ({where}; {int(wrong.sum()):,} of {wrong.numel():,} wrong)",
            f"within {float(allowed.expand_as(error)[i]):.3g}: half a step of this token's own scale in this head",
            think,
        )


def read_back(student, pair, sizes, called, think=ALONE):
    """k and v as they are read once they were appended in blocks of these sizes, and every token is right."""
    got = read(stored(student, in_blocks(pair, sizes), called), tuple(pair[0].shape), called, think)
    for tensor, want, what in zip(got, pair, "kv", strict=True):
        check_tokens(tensor, want, called, what, think)
    return got


def _of_every_shape(student, rng):
    """Keys and values of every shape are read as they were appended."""
    for shape in SHAPES:
        read_back(student, some_pair(*shape, rng), shape[2:3], f"Int8KVCache() with one append of {shape}")


def _of_every_precision(student, rng):
    """Keys and values of every precision are read as they were appended."""
    for dtype in (torch.float16, torch.float64):
        pair = [tensor.to(dtype) for tensor in some_pair(2, 3, 5, 16, rng)]
        called = f"Int8KVCache() with one append of {str(dtype).removeprefix('torch.')} (2, 3, 5, 16)"
        read_back(student, pair, (5,), called, oracle.PRECISION)


def _in_every_memory_order(student, rng):
    """The order of keys and values in memory makes no difference."""
    k, v = some_pair(2, 3, 5, 16, rng)
    for what, other_k in layouts(k).items():
        for pair in ((other_k, v), (k, layouts(v)[what])):
            which = "k" if pair[0] is other_k else "v"
            called = f"Int8KVCache() with one append of (2, 3, 5, 16), {which} {what}"
            for got, want, name in zip(
                read(stored(student, [pair], called), k.shape, called), (k, v), "kv", strict=True
            ):
                check_tokens(got, want, called, name, ORDER)


@pytest.mark.points(1)
@laws(_of_every_shape, _of_every_precision, _in_every_memory_order)
def test_what_is_read_is_what_was_appended(student, rng, law):
    """What is read is what was appended, within half a step of each token's scale."""
    law(student, rng)


def _zeros_are_read_as_zeros(student):
    """Zeros are read as zeros."""
    for shape in SHAPES:
        zeros, called = torch.zeros(shape), f"Int8KVCache() with one append of {shape}, all zeros"
        for got in read(stored(student, [(zeros, zeros)], called), shape, called):
            if not (got == 0).all():
                fail(called, describe(got), "zeros", oracle.ZEROS)


def _equal_numbers_are_read_as_such(student):
    """A token whose numbers are all equal is read as it was appended."""
    signs = torch.tensor([1.0, -1.0]).view(1, 2, 1, 1)
    k = (signs * torch.tensor([0.5, 3.0, 1.0])[:, None]).expand(1, 2, 3, 16).contiguous()
    called = "Int8KVCache() with one append of (1, 2, 3, 16), all numbers of a token equal"
    read_back(student, (k, -2 * k), (3,), called, EQUAL)


@pytest.mark.points(1)
@laws(_zeros_are_read_as_zeros, _equal_numbers_are_read_as_such)
def test_zeros_are_read_as_zeros(student, law):
    """Zeros are read as zeros, and equal numbers as equal numbers."""
    law(student)


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


def _one_at_a_time_or_in_blocks(student, rng):
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
                fail(
                    f"{called}, {what}", f"values that differ from those of one append by {most:.3g}", "the same", ALONE
                )


def _any_number_of_tokens(student, rng):
    """Any number of tokens may come, more than the context of a GPT, too."""
    for sizes in (*LONG.values(), (200, 100, 1, 299)):
        called = f"Int8KVCache() with {sum(sizes)} tokens in {len(sizes)} appends"
        read_back(
            student, some_pair(1, 4, sum(sizes), 64, rng), sizes, called, WINDOW if sum(sizes) > CONTEXT else ALONE
        )


def _an_append_may_be_empty(student, rng):
    """An append of no token adds nothing."""
    for sizes in ((3, 0, 2), (0, 5)):
        called = f"Int8KVCache() with appends of {', '.join(map(str, sizes))} tokens"
        read_back(student, some_pair(2, 3, 5, 16, rng), sizes, called)


@pytest.mark.points(1)
@laws(_one_at_a_time_or_in_blocks, _any_number_of_tokens, _an_append_may_be_empty)
def test_one_at_a_time_or_in_blocks_is_the_same(student, rng, law):
    """Tokens may come one at a time or in blocks, and as many as there are."""
    law(student, rng)


def _later_tokens_change_nothing(student, rng):
    """Later tokens, however large, do not change what was stored."""
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


def _what_was_read_stays_as_it_was(student, rng):
    """What read() returned stays as it was when tokens are appended and read later."""
    parts = [some_pair(2, 3, 4, 32, rng) for _ in range(3)]
    calls, methods = [], []
    for part in parts:
        calls += [part, (), ()]
        methods += ["append", "read", "read"]
    results = student.in_turn(student.Int8KVCache(), *calls, methods=methods)
    for n, method in enumerate(methods):
        if method == "read":
            so_far = 1 + n // 3
            called = f"Int8KVCache(), read() after {so_far} of 3 appends, looked at when all calls were made"
            shape = (2, 3, 4 * so_far, 32)
            pair = check_pair(results[n], called, "(k, v)")
            for i, what in enumerate("kv"):
                want = torch.cat([part[i] for part in parts[:so_far]], dim=2)
                got = check_tensor(pair[i], f"{called}, read()[{i}]", shape, torch.float32, OWN)
                check_tokens(got, want, called, what, OWN)


def _the_caller_may_use_its_tensors_again(student, rng):
    """The tensors that were appended may be filled with other values afterwards."""
    parts = [some_pair(2, 3, 4, 32, rng) for _ in range(3)]
    cache, called = (
        student.Int8KVCache(),
        "Int8KVCache(), three appends of the same tensors, with other values each time",
    )
    student.in_turn(cache, *parts, methods=["append"] * 3, same=True)
    for i, (got, what) in enumerate(zip(read(cache, (2, 3, 12, 32), called, OBJECTS), "kv", strict=True)):
        check_tokens(got, torch.cat([part[i] for part in parts], dim=2), called, what, OBJECTS)


@pytest.mark.points(1)
@laws(_later_tokens_change_nothing, _what_was_read_stays_as_it_was, _the_caller_may_use_its_tensors_again)
def test_what_is_stored_stays_as_it_was(student, rng, law):
    """What is stored stays as it was, whatever comes after."""
    law(student, rng)


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


def moments(student, sizes, rng):
    """A cache of 2 texts and 3 heads at several moments: (cache, what was called and when, how many tokens it has).

    From 128 tokens on, after each append; at the end, before and after it was read. A cache may have room for a few
    tokens more: at fewer tokens that would count for too much.
    """
    tokens, arrived = sum(sizes), 0
    cache = student.Int8KVCache()
    for k, v in in_blocks(some_pair(2, 3, tokens, 64, rng), sizes):
        cache.append(k.contiguous(), v.contiguous())
        arrived += k.shape[2]
        if arrived >= min(tokens, ENOUGH):
            yield cache, f"Int8KVCache() after {arrived} tokens, before any read()", arrived
    called = f"Int8KVCache() after {tokens} tokens and read()"
    read(cache, (2, 3, tokens, 64), called)
    yield cache, called, tokens


def bytes_of(cache):
    """Of all tensors that it holds."""
    return sum({t.storage: t.nbytes for t in cache.held_tensors()}.values())


@pytest.mark.points(1)
@pytest.mark.parametrize("sizes", LONG.values(), ids=LONG)
def test_nbytes_counts_all_that_is_held(student, rng, sizes):
    """What nbytes() says is the memory of all tensors that are held."""
    for cache, called, _ in moments(student, sizes, rng):
        said, held = check_number(cache.nbytes(), f"{called}, nbytes()"), bytes_of(cache)
        share, more = oracle.COUNTED
        if not abs(said - held) <= share * held + more:
            fail(f"{called}, nbytes()", f"{said:,.0f}", f"{held:,}, the bytes of all tensors that it holds", KEPT)


@pytest.mark.points(1)
@pytest.mark.parametrize("sizes", [*LONG.values(), (130,) + (1,) * 14], ids=[*LONG, "130 and 14 single"])
def test_it_takes_little_more_than_a_quarter_of_float32(student, rng, measured, sizes):
    """A cache takes little more memory than a quarter of float32."""
    for cache, called, tokens in moments(student, sizes, rng):
        held, codes = bytes_of(cache), 2 * 2 * 3 * tokens * 64
        fp32 = 4 * codes
        if not held >= codes:
            fail(called, f"{held:,} bytes in all tensors that it holds", f"{codes:,} for the codes alone", KEPT)
        if not held <= oracle.CACHE * fp32:
            got, expected = f"{held:,} bytes, {held / fp32:.2f} of float32", f"at most {oracle.CACHE:.2f} of {fp32:,}"
            fail(called, got, expected, WAITING)
        measured["cache, share of fp32"] = held / fp32


@pytest.fixture(scope="module")
def gpt():
    return load_gpt().eval()


@pytest.mark.points(1)
@pytest.mark.slow("Int8KVCache")
@pytest.mark.timeout(300)
def test_a_gpt_says_the_same(student, gpt, rng, progress):
    """A GPT chooses the same tokens, wherever its best logit is clearly ahead."""
    # fed with the text of the float32 cache, and compared where that is sure of itself: one early tie is no fault
    text = some_text(3, rng)
    for prompt in (1, 24, 40):
        progress(f"after {prompt} tokens")
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
@pytest.mark.slow("Int8KVCache")
@pytest.mark.timeout(300)
def test_a_gpt_loses_next_to_nothing(student, gpt, rng, measured):
    """A GPT with such caches keeps its perplexity."""
    text = some_text(WINDOWS, rng)
    first, called = CONTEXT // 2, f"gpt with an Int8KVCache() a layer, on {WINDOWS} windows of held-out text"

    def with_cache(ids):
        caches = [Watched(student, called) for _ in gpt.blocks]
        return torch.cat([gpt(ids[:, :first], caches), gpt(ids[:, first:], caches, first)], dim=1)

    change = drift(window_nats(with_cache, text), window_nats(gpt, text))
    measured["drift, int8 KV cache"] = change
    if not abs(change) < oracle.NO_DRIFT:
        fail(called, f"a drift of {change:+.2%}", f"less than {percent(oracle.NO_DRIFT)} either way", ALONE)
