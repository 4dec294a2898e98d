"""PyTorch's own int8, quantize_dynamic: all that the project needs of it outside solutions and answers.

PyTorch has declared torch.ao.quantization deprecated. When it is removed, this file is the place to change. Used in
pytest's process, in the worker, and by the benchmarks.
"""

import contextlib
import warnings
from collections.abc import Iterator

import torch
from torch import nn

NONE = "none"  # what PyTorch calls an engine that has no kernels


def engines() -> list[str]:
    """The engines of this machine that have kernels; PyTorch prefers the later ones."""
    return [engine for engine in torch.backends.quantized.supported_engines if engine != NONE]


def engine() -> str:
    """The engine that is set, or the one to set where none is: on a Mac it is "none" until somebody chooses one."""
    now = torch.backends.quantized.engine
    return engines()[-1] if now == NONE and engines() else now


def choose_engine() -> None:
    """Sets an engine where none is set: quantizing raises an error there."""
    if torch.backends.quantized.engine != engine():
        torch.backends.quantized.engine = engine()


@contextlib.contextmanager
def quantized_engine(name: str) -> Iterator[None]:
    """While this lasts, PyTorch packs quantized weights for this engine's kernels."""
    before = torch.backends.quantized.engine
    torch.backends.quantized.engine = name
    try:
        yield
    finally:
        torch.backends.quantized.engine = before


@contextlib.contextmanager
def without_deprecation_warnings() -> Iterator[None]:
    """While this lasts, PyTorch does not warn that torch.ao and its quantized tensors are deprecated."""
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", category=DeprecationWarning)
        warnings.filterwarnings("ignore", "torch.quantize_per_", UserWarning)
        yield


def torch_dynamic(model: nn.Module, kernels: str | None = None) -> nn.Module:
    """A copy of model, each Linear quantized by quantize_dynamic; the engine that is set stays set.

    kernels: of this engine; None: of engine()
    """
    with without_deprecation_warnings(), quantized_engine(kernels or engine()):
        return torch.ao.quantization.quantize_dynamic(model, {nn.Linear}, dtype=torch.qint8)
