"""ex09  The quantize script: all in one command

    .venv/bin/python -m exercises.ex09_quantize_script --checkpoint P --out DIR

loads a checkpoint, quantizes it as in ex05, saves both versions, and reports what was gained and lost, for example:

    fp32: 57982.0 KB              the size of DIR/model_fp32.pt, in KB of 1024 bytes
    int8: 18131.0 KB              the size of DIR/model_int8.pt
    ratio: 3.20x                  fp32 size / int8 size
    perplexity fp32: 42.9017      on 20,000 or more tokens of held-out text
    perplexity int8: 42.9356      on the same tokens
    speedup: 2.15x                fp32 time / int8 time, measured in pairs as in ex08

The sizes are those of the two files, so int8 is smaller only if the file holds int8 codes. A new process has nothing
but this file and your code: the file must hold everything that is needed to build the model again.

Other programs rely on a command's exit code. Exit 0 only if everything succeeded. Otherwise exit 2, print one line on
stderr that says what was wrong, and leave no partial files. Much can fail: the checkpoint is cut short, DIR is a file,
the disk is full after half a file (torch.save then raises RuntimeError), the figures cannot be printed (`> /dev/full`).
A partial file is worse than none, because the next program takes it for a model.

Then let the model write: `nox -s generate -- --bits 8 "ROMEO:"`.
"""

if __name__ == "__main__" and not __package__:
    raise SystemExit("Run it from the project's folder as a module: .venv/bin/python -m exercises.ex09_quantize_script")

import sys
from collections.abc import Sequence
from pathlib import Path

from torch import nn

from llm.checkpoint import PATH, CheckpointError, load_gpt
from llm.corpus import CorpusError, held_out_tokens
from llm.model import GPT, GPTConfig

from .ex05_linear_swap import swap_linears
from .ex06_perplexity import perplexity
from .ex08_cpu_speed import paired_speedup


def main(argv: Sequence[str]) -> int:
    """The command: writes model_fp32.pt and model_int8.pt into --out and prints the six figures.

    argv:    --checkpoint P (default: the project's checkpoint), --out DIR (made if need be; other files in it stay)
    returns: 0; or 2 after one line on stderr that names what was wrong, with all files and folders as before the call.
             SystemExit with one of these codes is right, too
    """
    # TODO: ex09, step 1 of 2. First make it work; then make whatever can fail leave nothing behind.
    raise NotImplementedError("ex09: main")


def load_int8(path: str | Path) -> nn.Module:
    """The quantized model, in eval mode, from a file that main wrote, in this process or in another one.

    path:    DIR/model_int8.pt, or a copy of this file
    returns: the module; `load_int8(path)(ids)` gives the logits (B, T, vocabulary) of ids (B, T)
    """
    # TODO: ex09, step 2 of 2. What does a new process need to know to build the model again?
    raise NotImplementedError("ex09: load_int8")


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
