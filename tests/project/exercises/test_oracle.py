"""What suites call right, beside other people's code for the same grids."""

import gguf
import pytest
import torch

from grader.bench.quality import quietly
from llm.checkpoint import load_gpt
from tests import oracle

with quietly():
    from torchao.quantization.quant_primitives import (
        MappingType,
        choose_qparams_affine,
        dequantize_affine,
        quantize_affine,
    )

EVERY_WIDTH = pytest.mark.parametrize("bits", range(2, 9))


@pytest.fixture(scope="module")
def weight():
    """(512, 512) float32 of a trained Linear."""
    return load_gpt().blocks[1].mlp.up.weight[:512].detach()


def away_from_ties(w, steps):
    """Where nobody can dispute a code: PyTorch multiplies by 1 / s, and lands on the other side of a near-tie."""
    ratio = oracle.exact(w) / steps
    return ((ratio - ratio.floor()) - 0.5).abs() > oracle.NEAR_TIE


@EVERY_WIDTH
def test_per_tensor_as_pytorch_fakes_it(weight, bits):
    step, last = oracle.scale(weight, bits), oracle.qmax(bits)
    theirs = torch.fake_quantize_per_tensor_affine(weight, step, 0, -last, last)
    sure = away_from_ties(weight, step)
    assert sure.float().mean() > 0.99
    assert torch.allclose(theirs[sure].double(), oracle.round_trip(weight, bits)[sure], rtol=1e-6, atol=0)


@EVERY_WIDTH
def test_per_row_as_pytorch_fakes_it(weight, bits):
    steps, last = oracle.channel_scales(weight, bits, 0), oracle.qmax(bits)
    zero = torch.zeros(len(weight))
    theirs = torch.fake_quantize_per_channel_affine(weight, steps.flatten().float(), zero, 0, -last, last)
    sure = away_from_ties(weight, steps)
    assert torch.allclose(theirs[sure].double(), oracle.round_trip(weight, bits, 0)[sure], rtol=1e-6, atol=0)


@EVERY_WIDTH
@pytest.mark.parametrize("size", [None, 32, 128])
def test_scales_and_codes_of_groups_as_torchao_makes_them(weight, bits, size):
    last, block = oracle.qmax(bits), (1, size or 512)
    steps, zero = choose_qparams_affine(
        weight, MappingType.SYMMETRIC, block, torch.int8, quant_min=-last, quant_max=last, eps=2.0**-14
    )
    mine = oracle.grouped_scales(weight, bits, size)
    assert torch.allclose(steps.double().view_as(mine), mine, rtol=1e-5, atol=0)
    half = mine.half().float()  # which is what a code is made for
    codes = quantize_affine(weight, block, half, zero, torch.int8, quant_min=-last, quant_max=last)
    theirs = dequantize_affine(codes, block, half, zero, torch.int8, quant_min=-last, quant_max=last)
    sure = away_from_ties(weight, half.double()[:, oracle.group_of(512, size)])
    assert torch.allclose(theirs[sure].double(), oracle.grouped_round_trip(weight, bits, size)[sure], rtol=1e-6)


def test_groups_of_32_at_8_bits_as_gguf_stores_them(weight):
    kind = gguf.GGMLQuantizationType.Q8_0
    theirs = torch.from_numpy(gguf.quants.dequantize(gguf.quants.quantize(weight.numpy(), kind), kind)).double()
    steps = oracle.grouped_scales(weight, 8, 32)[:, oracle.group_of(512, 32)]
    allowed = steps / 2 + 127 * steps * 2**-11  # its codes are made before the scale becomes float16
    ours = oracle.grouped_round_trip(weight, 8, 32)
    for name, rounded in (("theirs", theirs), ("ours", ours)):
        assert ((rounded - oracle.exact(weight)).abs() <= allowed * (1 + 1e-6)).all(), name
    assert gguf.quant_shape_to_byte_shape((512, 512), kind) == (512, 512 // 32 * (32 + 2))  # 8.5 bits, as ours
