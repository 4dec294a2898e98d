"""Text from the GPT at a bit width: `nox -s generate -- --bits 4 "ROMEO:"`.

The weights are rounded to the grid and stay float32: the text shows what the rounding does to the model, and nothing
else. Exit status: 0, 2 for input it cannot use, 130 when interrupted.
"""

import argparse
import math
import os
import random
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING, NoReturn

# torch takes a second to import: the functions below import it where they need it, so that help, a wrong option and
# Ctrl-C are answered at once.
if TYPE_CHECKING:
    from torch import Tensor

    from llm.model import GPT
    from llm.tokenizer import Tokenizer

UNQUANTIZED = 32


def round_trip(w: "Tensor", bits: int) -> "Tensor":
    """What is left of w, (rows, columns), after symmetric rounding to `bits` bits with one scale a row."""
    qmax = 2 ** (bits - 1) - 1
    scales = w.abs().amax(dim=1, keepdim=True) / qmax  # (rows, 1): the largest weight of a row lands on qmax
    scales[scales == 0] = 1  # a row of zeros stays a row of zeros
    codes = (w / scales).round()  # half to even
    return codes * scales


def with_rounded_weights(model: "GPT", bits: int) -> "GPT":
    """A copy of the model with the weight of every Linear rounded; embeddings, biases and LayerNorms as they are."""
    from llm.linears import with_weights

    return with_weights(model, lambda _, w: round_trip(w, bits))


def main(argv: list[str] | None = None) -> int:
    try:
        options = _parse(argv)
        model, tokenizer = _load(options.checkpoint)
        if options.bits != UNQUANTIZED:
            model = with_rounded_weights(model, options.bits)
        _print_text(model, tokenizer, options)
    except BrokenPipeError:  # `| head -1` has read enough; what is still to be written at exit goes nowhere
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
    except KeyboardInterrupt:
        print(file=sys.stderr)
        return 130
    return 0


class _Parser(argparse.ArgumentParser):
    def error(self, message: str) -> NoReturn:
        """One line, without the usage."""
        self.exit(2, f"generate: {message} (all options: nox -s generate -- --help)\n")


def _parse(argv: list[str] | None) -> argparse.Namespace:
    parser = _Parser(prog="nox -s generate --", description=__doc__.splitlines()[0])
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
            parser.error(problem)
    return options


def _load(path: Path | None) -> "tuple[GPT, Tokenizer]":
    """The model and the tokenizer it was trained with; ends the program where they are missing or do not match."""
    from llm.checkpoint import PATH, CheckpointError, load_gpt
    from llm.tokenizer import load_tokenizer

    try:
        model, tokenizer = load_gpt(path or PATH), load_tokenizer()
        if model.config.vocab_size != tokenizer.vocab_size:
            sizes = f"{model.config.vocab_size} tokens, llm/tokenizer.json {tokenizer.vocab_size}"
            raise CheckpointError(f"the model in {path} knows {sizes}: name one trained with that tokenizer")
    except (CheckpointError, FileNotFoundError) as error:
        print(f"generate: {error}", file=sys.stderr)
        raise SystemExit(2) from None
    return model, tokenizer


def _print_text(model: "GPT", tokenizer: "Tokenizer", options: argparse.Namespace) -> None:
    """The prompt and the text after it on stdout as it comes; its speed, bits and seed on stderr."""
    print(options.prompt, end="", flush=True)
    ids = tokenizer.encode(options.prompt)
    began = time.perf_counter()
    new_ids = model.generate(ids, options.tokens, options.temperature, options.top_k, options.seed)
    for text in tokenizer.stream(new_ids):
        print(text, end="", flush=True)
    speed = options.tokens / (time.perf_counter() - began)
    print(flush=True)
    print(f"{speed:.1f} tokens per second, {options.bits} bits, seed {options.seed}", file=sys.stderr)


if __name__ == "__main__":
    sys.stdout.reconfigure(errors="replace")  # a terminal without UTF-8 shows a ? for what it cannot show
    sys.exit(main())
