"""The reference of ex05 in a model that reads a Linear's weight instead of calling the Linear."""

import pytest
import torch
from torch import nn

from solutions.ex05_linear_swap import swap_linears
from tests import oracle


@pytest.mark.filterwarnings("ignore:enable_nested_tensor is True", "ignore:The PyTorch API of nested tensors")
@pytest.mark.parametrize("batch_first", [True, False], ids=["batch first", "batch second"])
@pytest.mark.parametrize("norm_first", [True, False], ids=["norm first", "norm last"])
@pytest.mark.parametrize("gradients", [True, False], ids=["gradients", "no gradients"])
def test_a_swapped_transformer_encoder_works(seed, batch_first, norm_first, gradients):
    """In eval mode, batch first, nn.TransformerEncoder hands the weights of a whole layer to one kernel."""
    torch.manual_seed(seed)
    block = nn.TransformerEncoderLayer(64, 4, 128, dropout=0, batch_first=batch_first, norm_first=norm_first)
    model = nn.TransformerEncoder(block, 2)
    x, padding = torch.randn(3, 5, 64), torch.tensor([[False] * 5, [False] * 4 + [True], [False] * 5])
    padding = padding if batch_first else torch.zeros(5, 3, dtype=torch.bool)
    for mode in (True, False):
        swapped = swap_linears(model.train(mode))
        codes = [name for name, t in swapped.state_dict().items() if t.dtype == torch.int8]
        assert codes == [f"layers.{k}.linear{n}.codes" for k in (0, 1) for n in (1, 2)]
        with torch.set_grad_enabled(gradients):
            for options in ({}, {"src_key_padding_mask": padding}):
                want, got = model(x, **options), swapped(x, **options)
                assert 0 < (got - want).norm() / want.norm() < oracle.ROUNDED_TO_INT8
