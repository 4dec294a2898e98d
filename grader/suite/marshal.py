"""What may cross the boundary: plain values and tensors, taken to bytes and built again; modules as a copy."""

import io
import warnings
from collections.abc import Callable, Iterator
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
        return (list if isinstance(value, list) else tuple)(pack(v, other) for v in value)  # no named tuple, either
    return other(value)


def unpack(value: Any, other: Callable[[Any], Any] = lambda value: value) -> Any:
    """What was packed; `other` says what becomes of that which pack let through in another form."""
    if isinstance(value, Packed):
        tensor = torch.empty(0, dtype=value.dtype)
        return tensor.set_(value.data.clone().untyped_storage(), 0, value.shape, value.stride)
    if isinstance(value, Quantized):
        return value.rebuild()
    if isinstance(value, dict):
        return {unpack(k, other): unpack(v, other) for k, v in value.items()}
    if isinstance(value, list | tuple):
        return type(value)(unpack(v, other) for v in value)
    return other(value)


def pack_tensor(tensor: Tensor) -> "Packed | Quantized":
    with torch._C.DisableTorchFunctionSubclass(), torch.no_grad():
        tensor = tensor.detach()
        if tensor.is_quantized:
            return Quantized.of(tensor)
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
class Quantized:
    """One of PyTorch's own quantized tensors, as found in the state dict of a dynamically quantized model."""

    codes: Packed
    scales: Packed
    zero_points: Packed
    axis: int | None
    dtype: torch.dtype

    @classmethod
    def of(cls, tensor: Tensor) -> "Quantized":
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
    return module_of(module_bytes(module))


def module_bytes(module: nn.Module) -> bytes:
    buffer = io.BytesIO()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        torch.save(module, buffer)
    return buffer.getvalue()


def module_of(data: bytes) -> nn.Module:
    """What module_bytes wrote: whoever calls this knows that it did, for a pickle is obeyed."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return torch.load(io.BytesIO(data), weights_only=False)


def tensors_within(packed: Any, value: Any) -> Iterator[tuple[Packed, Tensor]]:
    """The tensors of something that was packed, each with its bytes of then, in one order on both sides of a wire."""
    if isinstance(packed, Packed):
        yield packed, value
    elif isinstance(packed, dict):
        for key in packed:
            if key in value:
                yield from tensors_within(packed[key], value[key])
    elif isinstance(packed, list | tuple) and len(packed) == len(value):
        for parts in zip(packed, value, strict=True):
            yield from tensors_within(*parts)


def change(packed: Packed, tensor: Tensor) -> Packed | None:
    """What became of a tensor since it was packed; None when nothing did."""
    now = pack_tensor(tensor)
    same = (now.dtype, now.shape) == (packed.dtype, packed.shape) and torch.equal(now.data, packed.data)
    return None if same else now


def refuse(value: Any) -> Any:
    raise TypeError(f"a {type(value).__name__} cannot cross the boundary")
