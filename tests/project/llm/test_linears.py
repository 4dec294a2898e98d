"""What Linears are given, others in their place, and what a model loses of a text."""

import pytest
import torch
from torch import nn

from llm.evaluate import window_nats
from llm.linears import linear_inputs, linears, with_layers, with_weights
from llm.train import nats_per_token
from tests.project.tiny import TINY, some_tokens, tiny_gpt


@pytest.fixture
def gpt():
    return tiny_gpt()


@pytest.fixture
def ids():
    return some_tokens(3, TINY["block_size"] + 1)


def test_inputs_are_those_that_each_linear_got(gpt, ids):
    seen = linear_inputs(gpt, ids[:, :-1])
    assert set(seen) == set(linears(gpt)) and "head" in seen
    assert all(
        len(x) == ids[:, :-1].numel() and x.shape[1] == linears(gpt)[name].in_features for name, x in seen.items()
    )
    with torch.no_grad():
        logits = gpt(ids[:, :-1])
        assert torch.allclose(gpt.head(seen["head"]), logits.flatten(0, 1), atol=1e-6)
    assert not any(module._forward_pre_hooks for module in gpt.modules())


def test_others_stand_in_a_copy(gpt):
    before = {name: t.clone() for name, t in gpt.state_dict().items()}
    doubled = with_weights(gpt, lambda _, w: w.double() * 2)
    emptied = with_layers(gpt, lambda name, linear: nn.Identity())
    assert all(torch.equal(t, before[name]) for name, t in gpt.state_dict().items())
    for name, linear in linears(doubled).items():
        assert torch.equal(linear.weight, before[f"{name}.weight"] * 2) and linear.weight.dtype == torch.float32
    assert not linears(emptied) and isinstance(emptied.head, nn.Identity)


def test_windows_lose_what_the_text_loses(gpt, ids):
    text = torch.cat([ids[:, :-1].flatten(), ids[-1, -1:]])
    windows = text.unfold(0, ids.shape[1], ids.shape[1] - 1)
    found = window_nats(gpt, windows, batch=2)
    assert found.shape == (3,) and found.dtype == torch.float64
    assert found.mean().item() == pytest.approx(nats_per_token(gpt, text, "cpu"), rel=1e-5)
    assert found[1].item() == pytest.approx(window_nats(gpt, windows[1:2]).item(), rel=1e-6)
