"""ex08  CPU speed: is it really twice as fast?

Integer products are faster where the processor has instructions for them. PyTorch's own tool is one call:

    torch.ao.quantization.quantize_dynamic(model, {nn.Linear}, dtype=torch.qint8)

It makes weights int8 once and quantizes activations on the fly, as you did in ex05, with two differences to know: one
scale serves all activations of a call, so a later token can change an earlier one's result; and on x86 engines they get
7 bits, so that sums of products cannot overflow 16-bit registers. Which kernels run is decided when a model is
quantized, by torch.backends.quantized.engine; results and speed differ by engine, and supported_engines lists yours.
The tool is deprecated in favour of the torchao package and warns of it; the idea and the kernels remain.

Timing a shared computer is a craft of its own. The first calls are slow: warm up and drop them. Single times have
outliers: take a median. And the machine drifts: time both sides in turn, pair by pair, and take the median of the
pairs' ratios, so that a slow minute hits both. When it passes, run `python -m exercises.ex08_cpu_speed`.
"""

if __name__ == "__main__" and not __package__:
    raise SystemExit("Run it from the project's folder as a module: python -m exercises.ex08_cpu_speed")

import os

os.environ.setdefault("TORCH_CPP_LOG_LEVEL", "ERROR")  # one of the engines warns of itself, past Python

import contextlib
import statistics
import time
import warnings
from collections.abc import Callable, Iterator

import torch
from torch import nn


def median_latency(
    fn: Callable[[], object],
    warmup: int = 3,
    repeats: int = 20,
    clock: Callable[[], float] = time.perf_counter,
) -> float:
    """The middle of `repeats` timed calls of fn, after `warmup` calls that do not count.

    clock:   returns seconds
    returns: seconds; of an even number of times, the mean of the middle two
    """
    for _ in range(warmup):
        fn()
    return statistics.median(_seconds(fn, clock) for _ in range(repeats))


def paired_speedup(
    baseline: Callable[[], object],
    candidate: Callable[[], object],
    rounds: int = 21,
    clock: Callable[[], float] = time.perf_counter,
) -> float:
    """How many times faster candidate is: the median of baseline / candidate over `rounds` pairs timed in turn.

    returns: a number above 1 where candidate is the faster one
    """
    return statistics.median(_seconds(baseline, clock) / _seconds(candidate, clock) for _ in range(rounds))


def dynamic_int8(model: nn.Module) -> nn.Module:
    """PyTorch's own dynamic quantization of every Linear, with the engine that is set.

    model:   stays as it is
    returns: a new model
    """
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return torch.ao.quantization.quantize_dynamic(model, {nn.Linear}, dtype=torch.qint8)


def fast_int8(model: nn.Module) -> nn.Module:
    """The fastest int8 version of model that you can find.

    model:   stays as it is
    returns: a new model with the weight of every Linear in int8 and no float copy of it anywhere; its state dict is at
             least 2.8 times smaller, its outputs are close; torch's engine and thread settings are as they were before
    """
    linear = nn.Linear(512, 2048)
    x = torch.randn(128, 512)
    latency = {}
    for engine in torch.backends.quantized.supported_engines:
        with _engine(engine), contextlib.suppress(RuntimeError), torch.no_grad():
            candidate = dynamic_int8(nn.Sequential(linear))
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")
                latency[engine] = median_latency(lambda: candidate(x), warmup=3, repeats=15)  # noqa: B023
    # the kernel stays with the packed weights, so the engine matters only while they are made
    with _engine(min(latency, key=latency.get)):
        return dynamic_int8(model)


def _seconds(fn: Callable[[], object], clock: Callable[[], float]) -> float:
    began = clock()
    fn()
    return clock() - began


@contextlib.contextmanager
def _engine(name: str) -> Iterator[None]:
    before = torch.backends.quantized.engine
    torch.backends.quantized.engine = name
    try:
        yield
    finally:
        torch.backends.quantized.engine = before


def demonstration() -> None:
    """Every engine of this machine against float32, and what one scale for a whole call does to causality."""
    from llm.checkpoint import load_gpt
    from llm.corpus import held_out_tokens

    gpt, text = load_gpt(), held_out_tokens()
    ids, others = text[None, :128], [torch.cat([text[:31], last[None]])[None] for last in text[200:216]]

    def leak(model: nn.Module) -> float:
        """How far other last tokens move the logits of the tokens before them."""
        first, *rest = (model(sentence)[0, :-1] for sentence in others)
        return max((logits - first).abs().max().item() for logits in rest)

    with torch.no_grad(), warnings.catch_warnings():
        warnings.simplefilter("ignore")
        models = {"float32": gpt}
        for engine in torch.backends.quantized.supported_engines:
            if engine != "none":
                with _engine(engine):
                    models[engine] = dynamic_int8(gpt)
        for name, model in models.items():
            model(ids)
            speedup = paired_speedup(lambda: gpt(ids), lambda: model(ids), rounds=11)  # noqa: B023
            print(f"{name:<8} {speedup:.2f}x; another last token moves earlier logits by up to {leak(model):.3f}")
    print("\nfloat32 against itself should be 1.00x: what it is instead is this machine's noise.")


if __name__ == "__main__":
    demonstration()
