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

import argparse
import io
import os
import sys
import tempfile
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path

import torch
from torch import nn

from llm.checkpoint import PATH, CheckpointError, load_gpt
from llm.corpus import CorpusError, held_out_tokens
from llm.model import GPT, GPTConfig

from .ex05_linear_swap import swap_linears
from .ex06_perplexity import perplexity
from .ex08_cpu_speed import paired_speedup

TOKENS = 20_481  # 80 windows of 256 targets


def main(argv: Sequence[str]) -> int:
    """The command: writes model_fp32.pt and model_int8.pt into --out and prints the six figures.

    argv:    --checkpoint P (default: the project's checkpoint), --out DIR (made if need be; other files in it stay)
    returns: 0; or 2 after one line on stderr that names what was wrong, with all files and folders as before the call.
             SystemExit with one of these codes is right, too
    """
    parser = argparse.ArgumentParser(prog="ex09_quantize_script", description="Quantizes a GPT checkpoint to int8.")
    parser.add_argument("--checkpoint", type=Path, default=PATH)
    parser.add_argument("--out", type=Path, required=True)
    options = parser.parse_args(argv)
    try:
        _quantize(options.checkpoint, options.out)
    except (CheckpointError, CorpusError, OSError, ValueError) as error:
        print(f"ex09_quantize_script: {error}", file=sys.stderr)
        return 2
    return 0


def load_int8(path: str | Path) -> nn.Module:
    """The quantized model, in eval mode, from a file that main wrote, in this process or in another one.

    path:    DIR/model_int8.pt, or a copy of this file
    returns: the module; `load_int8(path)(ids)` gives the logits (B, T, vocabulary) of ids (B, T)
    """
    saved = torch.load(path, weights_only=True)
    model = swap_linears(GPT(GPTConfig(**saved["config"])))  # the right shapes; every value comes from the file
    model.load_state_dict(saved["model"])
    return model.eval()


def _quantize(checkpoint: Path, out: Path) -> None:
    """Does everything in a scratch folder first; the last step moves the finished files to their place.

    raises: CheckpointError, CorpusError, OSError, ValueError, with a message for the user
    """
    there = next(folder for folder in (out.absolute(), *out.absolute().parents) if folder.exists())
    if not there.is_dir():
        raise NotADirectoryError(f"{there} is a file: --out needs a folder")
    for file in (out / "model_fp32.pt", out / "model_int8.pt"):
        if file.is_dir():
            raise IsADirectoryError(f"{file} is a folder: move it away")
    gpt = load_gpt(checkpoint)
    tokens = held_out_tokens()[:TOKENS]
    if tokens.max() >= gpt.config.vocab_size:
        raise ValueError(f"{checkpoint} has {gpt.config.vocab_size} tokens, fewer than the tokenizer of llm")
    models = {"fp32": gpt, "int8": swap_linears(gpt)}
    context = gpt.config.block_size
    with tempfile.TemporaryDirectory(dir=there, prefix=".ex09-") as scratch:
        files = {name: Path(scratch, f"model_{name}.pt") for name in models}
        for name, model in models.items():
            _save({"config": asdict(gpt.config), "model": model.state_dict()}, files[name])
        kilobytes = {name: file.stat().st_size / 1024 for name, file in files.items()}
        perplexities = {name: perplexity(model, tokens, context) for name, model in models.items()}
        speedup = _speedup(models["fp32"], models["int8"], tokens[None, : min(128, context)])
        report = [
            f"fp32: {kilobytes['fp32']:.1f} KB",
            f"int8: {kilobytes['int8']:.1f} KB",
            f"ratio: {kilobytes['fp32'] / kilobytes['int8']:.2f}x",
            f"perplexity fp32: {perplexities['fp32']:.4f}",
            f"perplexity int8: {perplexities['int8']:.4f}",
            f"speedup: {speedup:.2f}x",
        ]
        _print("\n".join(report))  # while nothing lies in its place yet
        out.mkdir(parents=True, exist_ok=True)
        for file in files.values():
            os.replace(file, out / file.name)


def _save(contents: dict, file: Path) -> None:
    try:
        torch.save(contents, file)
    except RuntimeError as error:  # torch.save raises no OSError when the disk is full
        raise OSError(f"cannot write {file}: is the disk full?") from error


def _print(report: str) -> None:
    try:
        print(report, flush=True)  # without flush it fails later, when main has returned 0
    except OSError as error:
        sys.stdout = io.StringIO()  # or Python tries to print them once more when it ends, and exits with 120
        raise OSError(f"cannot print the figures: {error.strerror}") from error


@torch.no_grad()
def _speedup(fp32: nn.Module, int8: nn.Module, ids: torch.Tensor) -> float:
    for _ in range(2):
        fp32(ids), int8(ids)  # warm-up
    return paired_speedup(lambda: fp32(ids), lambda: int8(ids), rounds=9)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
