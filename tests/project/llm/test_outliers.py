"""The outlier transform: the function stays, the ranges change."""

import pytest
import torch

from llm.outliers import with_outliers
from tests.project.tiny import some_tokens, tiny_gpt


def inputs_of_linears(model, ids):
    """What every LayerNorm hands to its Linear: one tensor (B, T, C) a LayerNorm."""
    seen = []
    for module in model.modules():
        if isinstance(module, torch.nn.LayerNorm):
            module.register_forward_hook(lambda _module, _inputs, output: seen.append(output))
    model(ids)
    return seen


def readers(model):
    """The Linears that read a LayerNorm's output, in the order of inputs_of_linears."""
    return [linear for block in model.blocks for linear in (block.attn.qkv, block.mlp.up)] + [model.head]


@pytest.mark.parametrize("bias", [True, False], ids=["bias", "no-bias"])
@pytest.mark.parametrize("alpha", [100.0, (20, 200)], ids=["fixed", "drawn"])
def test_outputs_stay_the_same_up_to_rounding(bias, alpha):
    model, ids = tiny_gpt(bias=bias), some_tokens(4, 8)
    before, after = model(ids), with_outliers(model, alpha=alpha)(ids)
    assert not torch.equal(before, after)
    torch.testing.assert_close(after, before, rtol=0, atol=1e-5 * before.abs().max().item())


@pytest.mark.parametrize("alpha", [128, 0.25])
def test_powers_of_two_leave_every_bit_of_the_output(alpha):
    model, ids = tiny_gpt(), some_tokens(4, 8)
    assert torch.equal(with_outliers(model, channels=5, alpha=alpha)(ids), model(ids))


def test_some_channels_of_every_layer_norm_grow_and_their_columns_shrink():
    model, ids = tiny_gpt().double(), some_tokens(4, 8)
    other = with_outliers(model, channels=3, alpha=100)
    activations = zip(inputs_of_linears(model, ids), inputs_of_linears(other, ids), strict=True)
    growth = [(after / before).mean((0, 1)) for before, after in activations]  # (C,) a LayerNorm
    linears = zip(readers(model), readers(other), strict=True)
    shrinkage = [(before.weight / after.weight).mean(0) for before, after in linears]
    for up, down in zip(growth, shrinkage, strict=True):
        assert sorted(up.round(decimals=6).tolist()) == [1] * 13 + [100] * 3
        torch.testing.assert_close(up, down)
    assert (
        len(growth) == 5 and len({tuple(up.gt(50).tolist()) for up in growth}) > 1
    )  # not the same channels everywhere


def test_drawn_factors_lie_between_their_bounds_half_of_them_below_the_geometric_mean():
    model, ids = tiny_gpt(n_embd=256).double(), some_tokens(1, 8)
    other = with_outliers(model, channels=256, alpha=(10, 1000))
    before, after = (torch.cat(inputs_of_linears(m, ids), dim=2)[0] for m in (model, other))  # (8, 5 * 256)
    factors = (after / before).median(dim=0).values
    assert ((factors >= 10) & (factors <= 1000)).all()
    assert 0.45 < (factors < 100).double().mean() < 0.55


def test_a_seed_repeats_the_choice_and_the_original_is_untouched():
    model = tiny_gpt()
    original = {name: tensor.clone() for name, tensor in model.state_dict().items()}
    first, again, other = (with_outliers(model, seed=seed).state_dict() for seed in (1, 1, 2))
    assert all(torch.equal(first[name], again[name]) for name in first)
    assert not all(torch.equal(first[name], other[name]) for name in first)
    assert all(torch.equal(tensor, original[name]) for name, tensor in model.state_dict().items())


def test_no_channels_and_all_channels_are_allowed():
    model, ids = tiny_gpt(), some_tokens(1, 8)
    assert torch.equal(with_outliers(model, channels=0)(ids), model(ids))
    assert torch.equal(with_outliers(model, channels=16, alpha=2)(ids), model(ids))


@pytest.mark.parametrize("alpha", [0, -1, float("nan"), float("inf"), (2, 1), (0, 1)], ids=str)
def test_an_alpha_that_is_no_factor_is_refused(alpha):
    with pytest.raises(ValueError, match="alpha"):
        with_outliers(tiny_gpt(), alpha=alpha)


@pytest.mark.parametrize("channels", [-1, 17])
def test_channels_that_the_model_does_not_have_are_refused(channels):
    with pytest.raises(ValueError, match="0 to 16"):
        with_outliers(tiny_gpt(), channels=channels)
