"""ex08  CPU speed: is it really twice as fast?

Integer products are faster where the processor has instructions for them. PyTorch's own tool is one call:

    torch.ao.quantization.quantize_dynamic(model, {nn.Linear}, dtype=torch.qint8)

It makes weights int8 once and quantizes activations in every call, as your ex05 does, but more coarsely. A weight has
one scale, not one for each row. One scale serves all activations of a call, so a later token can change an earlier
token's result. On x86 engines activations get 7 bits, so that a sum of two products fits into 16 bits.

Which kernels run is decided when a model is quantized, by torch.backends.quantized.engine; a quantized model keeps its
kernels. Speed and results differ by engine, and torch.backends.quantized.supported_engines lists yours. On a Mac the
engine is "none" until somebody sets another, and quantizing raises an error. (The checks set one before they call you.)

PyTorch has deprecated the tool, and warns of that twice; the successor is the torchao package. PyTorch 2.13 still has
the tool, and on an x86 processor it is about twice as fast as torchao's int8 without torch.compile. The idea remains.

Timing a shared computer needs care. The first calls are slow: make some calls to warm up, and drop their times. Single
times have outliers: take a median. And the machine's speed drifts: time both sides in turn, pair by pair, and take the
median of the pairs' ratios, so that a slow minute slows both sides of a pair.

When it passes, run `.venv/bin/python -m exercises.ex08_cpu_speed`: every engine of your machine against float32.
"""

if __name__ == "__main__" and not __package__:
    raise SystemExit("Run it from the project's folder as a module: .venv/bin/python -m exercises.ex08_cpu_speed")

import os

os.environ.setdefault("TORCH_CPP_LOG_LEVEL", "ERROR")  # one of the engines warns of itself, past Python

import contextlib
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

    fn:      takes no arguments; its result does not matter
    warmup:  how many calls of fn come first and are not timed, 0 or more
    repeats: how many calls of fn are timed, each by itself, 1 or more
    clock:   takes no arguments and returns seconds; a call takes clock() after it minus clock() before it
    returns: seconds; of an even number of times, the mean of the middle two
    """
    # TODO: ex08, step 1 of 4. Which calls are timed, and which are not?
    raise NotImplementedError("ex08: median_latency")


def paired_speedup(
    baseline: Callable[[], object],
    candidate: Callable[[], object],
    rounds: int = 21,
    clock: Callable[[], float] = time.perf_counter,
) -> float:
    """How many times faster candidate is: the median of baseline / candidate over `rounds` pairs timed in turn.

    baseline, candidate: take no arguments; their results do not matter
    rounds:  how many pairs are timed, 1 or more: one call of baseline and one of candidate, each by itself
    clock:   takes no arguments and returns seconds
    returns: a number above 1 where candidate is faster; of an even number of ratios, the mean of the middle two
    """
    # TODO: ex08, step 2 of 4. Time one pair after the other. Each pair has a ratio.
    raise NotImplementedError("ex08: paired_speedup")


def dynamic_int8(model: nn.Module) -> nn.Module:
    """PyTorch's own dynamic quantization of every Linear, with the engine that is set.

    model:   stays as it is, and so do torch's settings
    returns: a new model
    """
    # TODO: ex08, step 3 of 4. The call of the lesson. (The checks keep its warnings off your screen.)
    raise NotImplementedError("ex08: dynamic_int8")


def fast_int8(model: nn.Module) -> nn.Module:
    """The fastest int8 version of model that you can find.

    model:   a GPT; it stays as it is, and so do torch's settings, the engine and the number of threads for instance
    returns: a new model with the weight of every Linear in int8 and no float copy of it anywhere, not even after it
             was called; its state dict is at least 2.8 times smaller; its logits are close, for ids of every shape.
             For 128 tokens on one thread it is at least twice as fast as model
    """
    # TODO: ex08, step 4 of 4. Which kernels are twice as fast here? Which settings must you put back afterwards?
    raise NotImplementedError("ex08: fast_int8")


@contextlib.contextmanager
def _engine(name: str) -> Iterator[None]:
    before = torch.backends.quantized.engine
    torch.backends.quantized.engine = name
    try:
        yield
    finally:
        torch.backends.quantized.engine = before


def demonstration() -> None:
    """Every engine of this machine against float32, and what one scale for a whole call does to earlier tokens."""
    from llm.checkpoint import load_gpt
    from llm.corpus import held_out_tokens

    gpt, text = load_gpt(), held_out_tokens()
    ids, others = text[None, :128], [torch.cat([text[:31], last[None]])[None] for last in text[200:208]]

    def leak(model: nn.Module) -> float:
        """How far other last tokens move the logits of the tokens before them."""
        first, *rest = (model(sentence)[0, :-1] for sentence in others)
        return max((logits - first).abs().max().item() for logits in rest)

    print("Every engine of this machine in turn with float32, on one thread: 10 to 20 seconds.\n")
    torch.set_num_threads(1)
    speedup, moved = {}, {}
    with torch.no_grad(), warnings.catch_warnings():
        warnings.simplefilter("ignore")
        models = {"float32": gpt}
        for engine in torch.backends.quantized.supported_engines:
            if engine != "none":
                with _engine(engine):
                    models[engine] = dynamic_int8(gpt)
        for name, model in models.items():
            model(ids)
            speedup[name] = paired_speedup(lambda: gpt(ids), lambda: model(ids), rounds=11)  # noqa: B023
            moved[name] = leak(model)
            print(f"{name:<8} {speedup[name]:.2f}x; another last token moves earlier logits by up to {moved[name]:.3f}")
    itself = speedup.pop("float32")
    if not 0.9 < itself < 1.1:
        print(f"\nWarning: float32 against itself should be 1.00x and is {itself:.2f}x, so this machine is busy.")
        print("Do not trust the other ratios. Run this again when nothing else runs.")
    best = max(speedup, key=speedup.get)
    print(f"\n{best} is the fastest engine in this run: {speedup[best]:.2f} times as fast as float32.")
    print(f"It has one scale for a whole call, so the last token changed earlier logits by up to {moved[best]:.3f}.")


if __name__ == "__main__":
    try:
        demonstration()
    except NotImplementedError as stub:
        print(f"not there yet: {stub}")
