"""`nox -s generate -- --bits 4 "ROMEO:"`: text from the GPT at a bit width.

The weights are rounded to the grid and stay float32: the text shows what the rounding does to the model, and nothing
else. Each row of a weight has its own scale. The learner's own functions round where they pass their suite: those of
ex02, else the one of ex01. Until then PyTorch's fake_quantize does it.

Exit code 0: the text is there; 2: the command or the installation is at fault; 130: stopped with Ctrl-C.
"""

import argparse
import contextlib
import math
import os
import random
import sys
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from types import ModuleType
from typing import TYPE_CHECKING

from grader.commands.command_line import Parser, outcome
from grader.results import syllabus
from grader.results.errors import UsageError
from grader.results.paths import EXERCISES
from grader.run.runner import Interrupted, run

# torch takes a second to import: the functions below import it where they need it, so that help, a wrong option and
# Ctrl-C are answered at once.
if TYPE_CHECKING:
    from torch import Tensor

    from llm.model import GPT
    from llm.tokenizer import Tokenizer

UNQUANTIZED = 32
Rounding = Callable[["Tensor", int], "Tensor"]  # what is left of a weight, (rows, columns), at so many bits


def main(argv: list[str] | None = None) -> int:
    return outcome(lambda: _main(_parse(argv)))


def _main(options: argparse.Namespace) -> int:
    try:
        model, tokenizer = _load(options.checkpoint)
        if options.bits != UNQUANTIZED:
            rounding, whose = chosen_rounding()
            print(f"weights rounded to {options.bits} bits by {whose}", file=sys.stderr, flush=True)
            model = with_rounded_weights(model, rounding, options.bits)
        _print_text(model, tokenizer, options)
    except BrokenPipeError:  # `| head -1` has read enough; what is still to be written at exit goes nowhere
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
    except KeyboardInterrupt:
        print(file=sys.stderr)
        return 130
    return 0


def _parse(argv: list[str] | None) -> argparse.Namespace:
    parser = Parser(prog="nox -s generate --", description="Prints text from the GPT at a bit width.")
    add = parser.add_argument
    add("prompt", nargs="?", default="ROMEO:", help="what the text begins with (default: ROMEO:)")
    add("--bits", type=int, default=UNQUANTIZED, help="2 to 8, or 32 for the model as it is (the default)")
    add("--tokens", type=int, default=200, help="how many to add (default: 200)")
    add("--temperature", type=float, default=0.8, help="0: always the likeliest token; 1: as trained (default: 0.8)")
    add("--top-k", type=int, metavar="K", help="choose among the K likeliest tokens only")
    add("--seed", type=int, default=random.randrange(2**32), help="repeats a text (default: a new one every time)")
    add("--checkpoint", type=Path, metavar="FILE", help="another file of weights than the one shipped")
    options = parser.parse_args(argv)
    problems = {
        "the prompt is empty: give at least one character": not options.prompt,
        "the prompt is not UTF-8: check the terminal's encoding": any(
            "\ud800" <= c <= "\udfff" for c in options.prompt
        ),
        f"--bits is {options.bits}: use 2 to 8, or 32 for the model as it is": options.bits
        not in (*range(2, 9), UNQUANTIZED),
        f"--tokens is {options.tokens}: use 1 or more": options.tokens < 1,
        f"--temperature is {options.temperature}: use 0 or more": not 0 <= options.temperature < math.inf,
        f"--top-k is {options.top_k}: use 1 or more": options.top_k is not None and options.top_k < 1,
        f"--seed is {options.seed}: use 0 to 2**63 - 1": not 0 <= options.seed < 2**63,
    }
    for problem, found in problems.items():
        if found:
            raise UsageError(problem)
    return options


# ---- who rounds ------------------------------------------------------------------------------------------------------


def chosen_rounding() -> tuple[Rounding, str]:
    """The learner's own functions where they pass, else PyTorch's; and whose they are, in words."""
    print("checking ex02 and ex01: are your functions ready to round the weights?", file=sys.stderr, flush=True)
    if passes("ex02"):
        return by_channels(_loaded("ex02")), "your functions of ex02"
    if passes("ex01"):
        return by_rows(_loaded("ex01")), "your round_trip of ex01, row by row"
    return by_torch, "torch.fake_quantize_per_channel_affine, because neither ex01 nor ex02 passes yet"


def passes(name: str, submission: Path = EXERCISES) -> bool:
    """Whether an exercise passes its suite."""
    exercise = replace(syllabus.find(name, syllabus.load()), needs=())
    try:
        result = run([exercise], submission, submission.name, random.randrange(2**32), _Quiet())
    except Interrupted:
        raise KeyboardInterrupt from None
    return result.exercises[0].state == "passed"


class _Quiet:
    """Says nothing while a suite runs: standard output is for the text."""

    def testing(self, *_) -> None: ...
    def finished(self, *_) -> None: ...


def _loaded(name: str) -> ModuleType:
    from grader.suite import load_exercise

    return load_exercise.load(EXERCISES, syllabus.find(name, syllabus.load()).name)


def by_channels(ex02: ModuleType) -> Rounding:
    return lambda w, bits: ex02.dequantize_per_channel(*ex02.quantize_per_channel(w, bits))


def by_rows(ex01: ModuleType) -> Rounding:
    def rounding(w: "Tensor", bits: int) -> "Tensor":
        import torch

        return torch.stack([ex01.round_trip(row, bits) for row in w])

    return rounding


def by_torch(w: "Tensor", bits: int) -> "Tensor":
    import torch

    qmax = 2 ** (bits - 1) - 1
    scales = (w.abs().amax(dim=1) / qmax).clamp(min=torch.finfo(w.dtype).tiny)  # of zeros too: 0 / 0 would be NaN
    return torch.fake_quantize_per_channel_affine(w, scales, torch.zeros_like(scales), 0, -qmax, qmax)


def with_rounded_weights(model: "GPT", rounding: Rounding, bits: int) -> "GPT":
    """A copy of the model with the weight of every Linear rounded; embeddings, biases and LayerNorms as they are."""
    from llm.linears import with_weights

    with contextlib.redirect_stdout(sys.stderr):  # what a learner's function prints is no text of the model
        return with_weights(model, lambda _, w: rounding(w, bits).detach())


# ---- the text --------------------------------------------------------------------------------------------------------


def _load(path: Path | None) -> "tuple[GPT, Tokenizer]":
    """The model and the tokenizer. raises: UsageError where they are missing or do not match"""
    from llm.checkpoint import PATH, CheckpointError, load_gpt
    from llm.tokenizer import load_tokenizer

    try:
        model, tokenizer = load_gpt(path or PATH), load_tokenizer()
    except (CheckpointError, FileNotFoundError) as error:
        raise UsageError(error) from None
    if model.config.vocab_size != tokenizer.vocab_size:
        sizes = f"{model.config.vocab_size} tokens, llm/tokenizer.json {tokenizer.vocab_size}"
        raise UsageError(f"the model in {path} knows {sizes}: name one trained with that tokenizer")
    return model, tokenizer


def _print_text(model: "GPT", tokenizer: "Tokenizer", options: argparse.Namespace) -> None:
    """The prompt and the text after it on stdout as it comes; its speed, bits and seed on stderr."""
    from llm.generate import continuation

    print(options.prompt, end="", flush=True)
    began = time.perf_counter()
    how = (options.temperature, options.top_k, options.seed)
    for text in continuation(model, tokenizer, options.prompt, options.tokens, *how):
        print(text, end="", flush=True)
    speed = options.tokens / (time.perf_counter() - began)
    print(flush=True)
    print(f"{speed:.1f} tokens per second, {options.bits} bits, seed {options.seed}", file=sys.stderr)


if __name__ == "__main__":
    sys.stdout.reconfigure(errors="replace")  # a terminal without UTF-8 shows a ? for what it cannot show
    sys.exit(main())
