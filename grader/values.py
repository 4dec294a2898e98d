"""What may cross the boundary: plain values and tensors, taken to bytes and built again; modules as a copy."""

import io
import warnings
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from llm.model import GPTConfig


@dataclass(frozen=True)
class Packed:
    """A tensor as bytes: dtype, shape, strides, and the stretch of storage they reach over."""

    dtype: torch.dtype
    shape: tuple[int, ...]
    stride: tuple[int, ...]
    data: Tensor  # (bytes,) uint8


def pack(value: Any, other: Callable[[Any], Any]) -> Any:
    """value with every tensor turned into bytes; anything that is no plain value goes through `other`."""
    if isinstance(value, Tensor):
        return pack_tensor(value)
    if isinstance(value, np.generic):
        return value.item()
    if value is None or isinstance(value, torch.dtype | GPTConfig):
        return value
    for plain in (bool, int, float, str, bytes):
        if isinstance(value, plain):
            return plain(value)  # a subclass stays behind
    if isinstance(value, dict):
        return {pack(k, other): pack(v, other) for k, v in value.items()}
    if isinstance(value, list | tuple):
        return type(value)(pack(v, other) for v in value) if type(value) in (list, tuple) else tuple(value)
    return other(value)


def unpack(value: Any) -> Any:
    if isinstance(value, Packed):
        tensor = torch.empty(0, dtype=value.dtype)
        return tensor.set_(value.data.clone().untyped_storage(), 0, value.shape, value.stride)
    if isinstance(value, _Quantized):
        return value.rebuild()
    if isinstance(value, dict):
        return {unpack(k): unpack(v) for k, v in value.items()}
    if isinstance(value, list | tuple):
        return type(value)(unpack(v) for v in value)
    return value


def pack_tensor(tensor: Tensor) -> "Packed | _Quantized":
    with torch._C.DisableTorchFunctionSubclass(), torch.no_grad():
        tensor = tensor.detach()
        if tensor.is_quantized:
            return _Quantized.of(tensor)
        if tensor.is_sparse or tensor.layout is not torch.strided or tensor.device.type != "cpu":
            tensor = tensor.cpu().to_dense()
        tensor = tensor.resolve_conj().resolve_neg()
        extent = (
            0
            if tensor.numel() == 0
            else 1 + sum((n - 1) * s for n, s in zip(tensor.shape, tensor.stride(), strict=True))
        )
        flat = torch.as_strided(tensor, (extent,), (1,), tensor.storage_offset())
        return Packed(tensor.dtype, tuple(tensor.shape), tensor.stride(), flat.clone().view(torch.uint8))


@dataclass(frozen=True)
class _Quantized:
    """One of PyTorch's own quantized tensors, as found in the state dict of a dynamically quantized model."""

    codes: Packed
    scales: Packed
    zero_points: Packed
    axis: int | None
    dtype: torch.dtype

    @classmethod
    def of(cls, tensor: Tensor) -> "_Quantized":
        if tensor.qscheme() in (torch.per_channel_affine, torch.per_channel_symmetric):
            scales, zeros = tensor.q_per_channel_scales(), tensor.q_per_channel_zero_points()
            axis = tensor.q_per_channel_axis()
        else:
            scales, zeros, axis = torch.tensor(tensor.q_scale()), torch.tensor(tensor.q_zero_point()), None
        return cls(*map(pack_tensor, (tensor.int_repr(), scales, zeros)), axis, tensor.dtype)

    def rebuild(self) -> Tensor:
        codes, scales, zeros = unpack(self.codes), unpack(self.scales), unpack(self.zero_points)
        if self.axis is None:
            return torch._make_per_tensor_quantized_tensor(codes, float(scales), int(zeros))
        return torch._make_per_channel_quantized_tensor(codes, scales, zeros, self.axis)


def copy_module(module: nn.Module) -> nn.Module:
    """A deep copy by way of bytes: shared parameters stay shared, nothing refers back to the original."""
    buffer = io.BytesIO()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        torch.save(module, buffer)
        buffer.seek(0)
        return torch.load(buffer, weights_only=False)  # bytes that this very function wrote


def refuse(value: Any) -> Any:
    raise TypeError(f"a {type(value).__name__} cannot cross the boundary")
