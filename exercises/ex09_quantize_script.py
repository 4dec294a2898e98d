"""ex09  The quantize script: all in one command

    python -m exercises.ex09_quantize_script --checkpoint P --out DIR

loads a checkpoint, quantizes it as in ex05, saves both versions, and reports what was gained and what was lost:

    fp32: 57982.0 KB              the size of DIR/model_fp32.pt, in KB of 1024 bytes
    int8: 18131.0 KB              the size of DIR/model_int8.pt
    ratio: 3.20x
    perplexity fp32: 42.9017      on 20,000 or more tokens of held-out text
    perplexity int8: 42.9356
    speedup: 2.15x                the fp32 model against the int8 one that was saved, timed as in ex08

A command that others build on keeps its promises when something goes wrong, too: exit code 0 only when all was done; 2
and one line on stderr that names the thing when not; and then nothing half-written left behind, because a file that is
there but incomplete is worse than none. A saved model is worth something only if a new process can load it, so the file
has to hold all that is needed to build the model again. Then talk to the model: `nox -s generate -- --bits 8 "ROMEO:"`.
"""

if __name__ == "__main__" and not __package__:
    raise SystemExit("Run it from the project's folder as a module: python -m exercises.ex09_quantize_script")

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

    argv:    --checkpoint P (default: the project's checkpoint) and --out DIR (made if need be; other files in it stay)
    returns: 0, or 2 after a message on stderr, with nothing new left in or at DIR. SystemExit with these codes will do
    """
    # TODO: ex09, step 1 of 2. First make it work; then make whatever can fail leave nothing behind.
    raise NotImplementedError("ex09: main")


def load_int8(path: str | Path) -> nn.Module:
    """The quantized model from a file that main wrote, ready to run, in any process."""
    # TODO: ex09, step 2 of 2. What does a new process need to know to build the model again?
    raise NotImplementedError("ex09: load_int8")


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
