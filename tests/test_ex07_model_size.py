"""ex07: bytes as they are saved, ratios measured and predicted, and the price of a KV cache."""

import math
from dataclasses import replace

import pytest
import torch
from torch import nn

from grader.suite.pytorch_quantization import torch_dynamic
from llm.checkpoint import load_gpt
from llm.model import GPT, GPTConfig
from tests import oracle
from tests.laws import laws
from tests.messages import check_number, fail
from tests.models import changed, changed_mode, check_module, modes, on_disk
from tests.specimens import Nested, Storage, with_codes

WRITTEN = "What is written besides parameters: buffers, whole storages, PyTorch's packed weights, a little overhead?"
STAYS = "Which tensors become one byte a number, and which stay at four: embeddings, biases, a scale for every row?"
HEADER = 325  # bytes that torch.save spends on each tensor, its name and its place in the file
COURSE = GPTConfig(vocab_size=50257, block_size=256, n_layer=4, n_head=4, n_embd=128)
SHAPES = {
    "this-gpt": GPTConfig(),
    "course": COURSE,
    "deep-and-narrow": GPTConfig(vocab_size=1000, block_size=64, n_layer=12, n_head=4, n_embd=128),
    "wide-and-shallow": GPTConfig(vocab_size=300, block_size=512, n_layer=1, n_head=16, n_embd=768),
    "no-bias": GPTConfig(vocab_size=4096, block_size=1024, n_layer=3, n_head=6, n_embd=384, bias=False),
    "long-context": GPTConfig(vocab_size=256, block_size=9216, n_layer=24, n_head=4, n_embd=128, ffn_mult=1),
    "small-ffn": GPTConfig(vocab_size=8000, block_size=128, n_layer=2, n_head=4, n_embd=256, ffn_mult=2),
}


def models(rng):
    large = torch.randn(400, 300, generator=rng)
    tied = nn.Sequential(nn.Embedding(400, 96), nn.Linear(96, 400, bias=False))
    tied[1].weight = tied[0].weight
    return {
        "a float32 Linear": nn.Linear(300, 200),
        "a float16 Linear": nn.Linear(500, 300).half(),
        "a Linear without bias": nn.Linear(300, 200, bias=False),
        "int8 codes in a buffer": Storage(codes=torch.zeros(700, 300, dtype=torch.int8)),
        "int64 and bool buffers": Storage(steps=torch.arange(20_000), mask=torch.ones(300, 200, dtype=torch.bool)),
        "a view of 3 rows of a large tensor": Storage(rows=large[:3]),
        "a view of every second column": Storage(columns=large[:, ::2]),
        "a transposed tensor": Storage(turned=large.t()),
        "one row expanded to 500": Storage(expanded=large[:1].clone().expand(500, 300)),
        "one tensor under two names": Storage(a=large, b=large),
        "two views of one tensor": Storage(first=large[:200], second=large[200:]),
        "an Embedding and a Linear with one weight": tied,
        "a large buffer that is not persistent": Storage(a=large[:3].clone(), scratch=large),
        "a state dict without tensors": nn.GELU(),
        "nested modules": Nested(),
        "Linears as int8 codes": with_codes(Nested()),
        "quantize_dynamic's": torch_dynamic(Nested()),
    }


@pytest.mark.points(2)
def test_saved_bytes_are_those_of_the_file(student, rng):
    """The saved bytes are those of the file."""
    for what, model in models(rng).items():
        called = f"saved_bytes({what})"
        got, want = check_number(student.saved_bytes(model), called), on_disk(model.state_dict())
        if not is_size_of_file(got, want):
            in_other_unit = any(abs(got * unit / want - 1) < oracle.FILE_RATIO for unit in (1000, 1024, 1e6, 2**20))
            think = "In which unit is your number?" if in_other_unit else WRITTEN
            fail(called, f"{got:,.0f} bytes", f"{want:,} bytes", think)


def is_size_of_file(got, want):
    share, extra = oracle.FILE
    return abs(got - want) <= share * want + extra


@pytest.mark.points(1)
def test_the_model_stays_as_it_was(student, rng):
    """The model stays as it was."""
    for what, model in models(rng).items():
        called = f"saved_bytes({what})"
        got, want = check_number(student.saved_bytes(model), called), on_disk(model.state_dict())
        mine = student.view(model)
        plain = all(torch.is_tensor(value) for value in model.state_dict().values())  # not quantize_dynamic's
        difference = changed(mine, model) if plain else changed_mode(modes(mine), modes(model))
        if difference:
            fail(called, difference, "the model as it was", "Whose model is it?")
        low, high = want / oracle.SAME_SIZE, want * oracle.SAME_SIZE
        if not low - oracle.FILE[1] <= got <= high + oracle.FILE[1]:  # what saves nothing changes nothing, too
            fail(called, f"{got:,.0f} bytes", f"about {want:,} bytes", WRITTEN)


def _first_over_second(student, rng):
    """The first model's size is divided by the second one's."""
    linear = nn.Linear(1000, 800)
    some = int(torch.randint(100, 700, (), generator=rng))
    for what, small in (
        ("int8 codes", Storage(codes=torch.zeros(800, 1000, dtype=torch.int8))),
        ("itself", linear),
        (f"a Linear with {some} outputs", nn.Linear(1000, some)),
    ):
        check_ratio(student, linear, small, f"compression_ratio(a Linear with 800 outputs, {what})")


def _below_1(student, rng):
    """The ratio is below 1 where the second model is the larger one."""
    small = Storage(codes=torch.zeros(800, 1000, dtype=torch.int8))
    check_ratio(student, small, nn.Linear(1000, 800), "compression_ratio(int8 codes, a float32 Linear)")
    some = int(torch.randint(900, 1500, (), generator=rng))
    called = f"compression_ratio(a Linear with 800 outputs, a Linear with {some} outputs)"
    check_ratio(student, nn.Linear(1000, 800), nn.Linear(1000, some), called)


def check_ratio(student, first, second, called):
    """The ratio is that of two sizes, each as far off as saved_bytes may be."""
    got = check_number(student.compression_ratio(first, second), called)
    sizes = [on_disk(model.state_dict()) for model in (first, second)]
    share, extra = oracle.FILE
    (low, high), (least, most) = [(size * (1 - share) - extra, size * (1 + share) + extra) for size in sizes]
    if not low / most <= got <= high / least:
        think = "Which of the two is divided by which, as a plain ratio, and is saved_bytes right?"
        fail(called, got, f"{sizes[0] / sizes[1]:.4f}, by the files' sizes", think)


@pytest.mark.points(1)
@laws(_first_over_second, _below_1)
def test_the_ratio_is_large_over_small(student, rng, law):
    """The ratio is that of the two files."""
    law(student, rng)


def _against_float32(student, measured):
    """Against float32, the ratio is about 3."""
    # N1: 4 in theory, about 3 in a file
    gpt = load_gpt()
    low, high = oracle.SMALLER
    for what, int8, figure in (
        ("swap_linears(gpt)", int8_gpt(student, gpt), "size ratio"),
        ("quantize_dynamic(gpt)", torch_dynamic(gpt), "size ratio of quantize_dynamic"),
    ):
        called = f"compression_ratio(gpt, {what})"
        got = measured[figure] = check_file_ratio(student, gpt, int8, called)
        if not (low <= got <= high):
            fail(called, got, f"{low} to {high}", "Is every Linear swapped, and no float copy saved?")


def _against_float16(student, measured):
    """Against float16, the ratio is half as large."""
    # N9: about 1.6 against the half precision that checkpoints come in; no constant is right for both
    gpt, half = load_gpt(), load_gpt().half()
    called = "compression_ratio(gpt in float16, swap_linears(gpt))"
    measured["size ratio against float16"] = check_file_ratio(student, half, int8_gpt(student, gpt), called)


def int8_gpt(student, gpt):
    return check_module(student.exercise("ex05_linear_swap").swap_linears(gpt), "swap_linears(gpt)")


def check_file_ratio(student, large, small, called):
    """The student's compression ratio, once it is that of the files' sizes."""
    got = check_number(student.compression_ratio(large, small), called)
    want = on_disk(large.state_dict()) / on_disk(small.state_dict())
    if not math.isclose(got, want, rel_tol=oracle.GPT_FILE_RATIO):
        fail(called, got, f"{want:.4f}, by the files' sizes")
    return got


@pytest.mark.points(2)
@pytest.mark.timeout(60)
@laws(_against_float32, _against_float16)
def test_the_gpt_is_about_three_times_smaller(student, measured, law):
    """The int8 GPT is about three times smaller."""
    law(student, measured)


@pytest.mark.points(1)
@pytest.mark.parametrize("config", SHAPES.values(), ids=SHAPES)
def test_the_ratio_follows_from_the_shape(student, rng, measured, config):
    """The ratio follows from the shape of the GPT."""
    got = _check_prediction(student, config)
    if config == COURSE:
        measured["size ratio of the course's own shape"] = got
    larger = int(config.vocab_size * (1.5 + torch.rand((), generator=rng).item()))
    _check_prediction(student, replace(config, vocab_size=larger))


def _check_prediction(student, config):
    """The ratio that student predicts for a shape, once it is right."""
    called = f"predicted_ratio({config})"
    got = check_number(student.predicted_ratio(config), called)
    with torch.device("meta"):
        gpt = GPT(config)
    linears = [m for m in gpt.modules() if isinstance(m, nn.Linear)]
    everything = sum(p.numel() for p in gpt.parameters())
    weights, rows = sum(m.weight.numel() for m in linears), sum(m.out_features for m in linears)
    want = 4 * everything / (weights + 4 * rows + 4 * (everything - weights))
    # in a file each tensor also has a header; with it or without it is a prediction, by at most 1.6 % apart here
    tensors = len(gpt.state_dict())
    headed = (4 * everything + HEADER * tensors) / (
        weights + 4 * rows + 4 * (everything - weights) + HEADER * (tensors + len(linears))
    )
    if not math.isclose(got, headed, rel_tol=oracle.PREDICTED):
        fail(
            called,
            f"{got:.3f}",
            f"{want:.3f}: {weights / everything:.0%} of {everything:,} parameters are Linear weights",
            STAYS,
        )
    return got


def caches(rng):
    """Of several shapes config, tokens, batch, the bytes that llm.model.KVCache allocates, and how a call begins."""
    drawn = [int(n) for n in torch.randint(2, 7, (4,), generator=rng)]
    shapes = ((1, 1, 8, 1, 1), (3, 2, 16, 7, 1), (2, 4, 32, 5, 6), (drawn[0], 2, 8 * drawn[1], *drawn[2:]))
    for layers, heads, width, tokens, batch in shapes:
        config = GPTConfig(vocab_size=11, block_size=16, n_layer=layers, n_head=heads, n_embd=width)
        gpt = GPT(config).eval()
        filled = gpt.new_caches()
        with torch.no_grad():
            gpt(torch.randint(11, (batch, tokens), generator=rng), filled)
        beginning = f"kv_cache_bytes({layers} layers of width {width}, tokens={tokens}, batch={batch}"
        yield config, tokens, batch, sum(cache.nbytes() for cache in filled), beginning


@pytest.mark.points(1)
def test_a_kv_cache_holds_keys_and_values_of_every_layer(student, rng):
    """A KV cache holds keys and values of every layer."""
    for config, tokens, batch, want, cache in caches(rng):
        called = f"{cache})"
        got = check_number(student.kv_cache_bytes(config, tokens, batch), called)
        think = "What does one token leave behind in one layer, and how many layers, tokens and sequences are there?"
        if got != want:
            fail(called, f"{got:,.0f}", f"{want:,}: what llm.model.KVCache allocates", think)


def _in_proportion(student, rng):
    """Half as many bytes a value take half the memory."""
    for config, tokens, batch, in_float32, cache in caches(rng):
        for size in (1, 2, 0.5):
            called, want = f"{cache}, bytes_per_value={size})", in_float32 / 4 * size
            got = check_number(student.kv_cache_bytes(config, tokens, batch, size), called)
            if got != want:
                fail(called, f"{got:,.1f}", f"{want:,.1f}")


def _numbers_as_tensors(student, rng):
    """Tokens, batch and bytes may be tensors without dimensions."""
    for config, tokens, batch, in_float32, cache in caches(rng):
        called, want = f"{cache}, bytes_per_value=0.5), the numbers as tensors of shape ()", in_float32 / 8
        numbers = torch.tensor(tokens), torch.tensor(batch), torch.tensor(0.5)
        got = check_number(student.kv_cache_bytes(config, *numbers), called)
        if got != want:
            fail(called, f"{got:,.1f}", f"{want:,.1f}")


@pytest.mark.points(1)
@laws(_in_proportion, _numbers_as_tensors)
def test_a_kv_cache_grows_with_the_bytes_of_a_value(student, rng, law):
    """A KV cache grows with the bytes of a value."""
    law(student, rng)


@pytest.mark.points(1)
def test_a_kv_cache_grows_with_every_token(student, rng):
    """A KV cache grows with every token, without end."""
    layers = int(torch.randint(5, 10, (), generator=rng))
    for shape, config in (("GPTConfig()", GPTConfig()), (f"GPTConfig(n_layer={layers})", GPTConfig(n_layer=layers))):
        for tokens in (0, 256, 1000):  # what a cache costs has nothing to do with block_size
            called, want = f"kv_cache_bytes({shape}, {tokens})", 2 * config.n_layer * tokens * 512 * 4
            got = check_number(student.kv_cache_bytes(config, tokens), called)
            if got != want:
                fail(called, f"{got:,.0f}", f"{want:,}, batch 1 and float32 by default")
