"""Makes no token's scale smaller than 1e-8. What becomes of a token of size 1e-10?"""

# caught by: test_each_call_has_columns_of_its_own
# says: called mixed_int8_linear(linear)(x), tokens of size ... got ... expected ... in int8, by the token's own scale

import copy

from torch import Tensor, nn

from .ex02_per_channel import quantize_per_channel
from .ex04_int8_product import int8_matmul
from .ex05_linear_swap import swap_linears
from .ex06_perplexity import drift, perplexity


def outlier_columns(x: Tensor, threshold: float = 6.0) -> Tensor:
    return (x.abs() >= threshold).reshape(-1, x.shape[-1]).any(dim=0)


class MixedInt8Linear(nn.Module):
    def __init__(self, linear: nn.Linear, threshold: float):
        super().__init__()
        self.threshold = threshold
        codes, scales = quantize_per_channel(linear.weight.detach())
        self.register_buffer("codes", codes)
        self.register_buffer("scales", scales)
        self.register_buffer("weight", linear.weight.detach().float().clone())
        self.register_buffer("bias", None if linear.bias is None else linear.bias.detach().float().clone())
        self.train(linear.training)

    def forward(self, x: Tensor) -> Tensor:
        x = x.float()
        outlier = outlier_columns(x, self.threshold)
        usual = x.masked_fill(outlier, 0)
        step = (usual.abs().amax(dim=-1, keepdim=True) / 127).clamp(min=1e-8)
        y = (usual / step).round() @ self.codes.float().t() * step * self.scales.flatten()
        y = y if self.bias is None else y + self.bias
        return y + x[..., outlier] @ self.weight[:, outlier].t()


def mixed_int8_linear(linear: nn.Linear, threshold: float = 6.0) -> nn.Module:
    return MixedInt8Linear(linear, threshold)
