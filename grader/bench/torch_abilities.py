"""What PyTorch finds and can do on this machine: the child process of `nox -s doctor`.

Prints a finding a line, as JSON, as soon as it is known: an engine that crashes takes only itself along.
"""

import json
import statistics
import time
from collections.abc import Callable

import torch
from torch import nn

from grader.suite.host import INT8_DOT_PRODUCTS, host
from grader.suite.pytorch_quantization import engine, engines, torch_dynamic
from llm.checkpoint import CheckpointError, load_gpt
from llm.corpus import CorpusError, held_out_plays, plays

TOKENS, INPUTS, OUTPUTS = 128, 512, 2048  # the shape of the GPT's widest layer
ROUNDS = 15


def main() -> None:
    tell("torch", version=torch.__version__, cuda=torch.version.cuda)
    abilities = torch.cpu.get_capabilities()
    tell("processor", name=host().cpu, dot_products=[name for name in INT8_DOT_PRODUCTS if abilities.get(name)])
    tell("text", **unless(CorpusError, lambda: {"works": len(plays()), "held_out": len(held_out_plays())}))
    tell("checkpoint", **unless(CheckpointError, parameters))
    tell("engines", set=torch.backends.quantized.engine, chosen=engine(), there=engines())
    torch.set_num_threads(1)
    for name in engines():
        tell("engine", name=name, **unless(RuntimeError, lambda kernels=name: {"speedup": speedup(kernels)}))


def tell(finding: str, **content) -> None:
    print(json.dumps({"finding": finding} | content), flush=True)


def unless(error: type[Exception], look: Callable[[], dict]) -> dict:
    """What is found, or why it cannot be."""
    try:
        return look()
    except error as reason:
        return {"error": " ".join(str(reason).split())}


def parameters() -> dict[str, int]:
    return {"parameters": sum(parameter.numel() for parameter in load_gpt().parameters())}


@torch.no_grad()
def speedup(kernels: str) -> float:
    """Of a quantized Linear against float32: the median of paired ratios on one thread."""
    layer, x = nn.Sequential(nn.Linear(INPUTS, OUTPUTS)), torch.randn(TOKENS, INPUTS)
    quantized = torch_dynamic(layer, kernels)
    ratios = []
    for _ in range(2 + ROUNDS):
        began = time.perf_counter()
        layer(x)
        between = time.perf_counter()
        quantized(x)
        ratios.append((between - began) / (time.perf_counter() - between))
    return statistics.median(ratios[2:])  # the first two calls warm up


if __name__ == "__main__":
    main()
