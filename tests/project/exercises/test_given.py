"""What stubs bring along, for experiments and as a help: the same in the solution, and right."""

import ast

import pytest
import torch

from llm.checkpoint import load_gpt
from llm.corpus import held_out_tokens
from llm.model import KVCache
from solutions import ex06_perplexity, ex10_int4, ex12_awq, ex14_kv_cache
from tests.project.exercises.test_exercises import NAMES, ROOT


def definitions(path):
    kinds = ast.FunctionDef | ast.ClassDef
    return {node.name: ast.unparse(node) for node in ast.parse(path.read_text()).body if isinstance(node, kinds)}


@pytest.mark.parametrize("name", NAMES)
def test_what_is_there_is_as_in_the_solution(name):
    stub, solution = (definitions(ROOT / folder / f"{name}.py") for folder in ("exercises", "solutions"))
    whole = [what for what, text in stub.items() if "NotImplementedError" not in text]
    assert [what for what in whole if stub[what] != solution.get(what)] == []


def rounded(x, dim, bits):
    """x on a grid whose scale is that of its largest along dim, in float64."""
    x, qmax = x.double(), 2 ** (bits - 1) - 1
    scale = x.abs().amax(dim=dim, keepdim=True) / qmax
    return (x / scale).round() * scale


@pytest.mark.parametrize("bits", [8, 4, 2])
@pytest.mark.parametrize("group", [None, 4, 20])
def test_a_rounded_cache_has_scales_of_tokens_or_of_channels(bits, group):
    torch.manual_seed(bits)
    k, v = torch.randn(2, 3, 10, 16), torch.randn(2, 3, 10, 16)
    cache = ex14_kv_cache.RoundedCache(bits, group)
    for some_k, some_v in zip(k.split([4, 1, 5], dim=2), v.split([4, 1, 5], dim=2), strict=True):
        cache.append(some_k, some_v)
    got_k, got_v = cache.read()
    parts = [rounded(part, 2, bits) for part in k.split(group, dim=2)] if group else [rounded(k, 3, bits)]
    assert torch.allclose(got_k.double(), torch.cat(parts, dim=2), atol=1e-5)
    assert torch.allclose(got_v.double(), rounded(v, 3, bits), atol=1e-5)


@pytest.mark.parametrize("count, context", [(769, 256), (700, 128)], ids=str)  # 700: with a last window of 59
def test_the_perplexity_with_caches_is_that_without(count, context):
    gpt, tokens = load_gpt().eval(), held_out_tokens()[:count]
    measured = ex14_kv_cache.perplexity_with_caches(gpt, tokens, context, KVCache)
    assert measured == pytest.approx(ex06_perplexity.perplexity(gpt, tokens, context), rel=1e-5)
    rough = ex14_kv_cache.perplexity_with_caches(gpt, tokens, context, lambda: ex14_kv_cache.RoundedCache(2))
    assert rough > 1.1 * measured


def test_scales_are_spread_over_their_groups():
    scales = torch.tensor([[0.5, 2.0], [1.0, 4.0]], dtype=torch.float16)
    assert ex10_int4.spread(scales, 3, 2).tolist() == [[0.5, 0.5, 2.0], [1.0, 1.0, 4.0]]
    w = torch.tensor([[7.0, 3.4, 0.14], [7.0, -3.6, 0.06]])
    assert torch.allclose(
        ex12_awq.round_trip_grouped(w, 4, 2), torch.tensor([[7.0, 3.0, 0.14], [7.0, -4.0, 0.06]]), rtol=1e-3
    )
