"""A pytest plugin (`PYTEST_PLUGINS=tests.project.no_engine`): PyTorch as on a Mac with an Apple processor.

Its engines are qnnpack and "none". It starts with "none", and packing a weight is an error until an engine is set.
"""

import torch


class _Engine:
    now = "none"

    def __get__(self, obj, kind):
        return _Engine.now

    def __set__(self, obj, name):
        if name not in ("none", "qnnpack"):
            raise RuntimeError(f"quantized engine {name} is not supported")
        if name == "qnnpack":
            torch._C._set_qengine(2)
        _Engine.now = name


class _Engines:
    def __get__(self, obj, kind):
        return ["qnnpack", "none"]


def _unless_none(name):
    real = getattr(torch.ops.quantized, name)

    def packed(*args, **kwargs):
        if _Engine.now == "none":
            raise RuntimeError(f"Didn't find engine for operation quantized::{name} NoQEngine")
        return real(*args, **kwargs)

    return packed


type(torch.backends.quantized).engine = _Engine()
type(torch.backends.quantized).supported_engines = _Engines()
for name in ("linear_prepack", "linear_prepack_fp16"):
    setattr(torch.ops.quantized, name, _unless_none(name))
