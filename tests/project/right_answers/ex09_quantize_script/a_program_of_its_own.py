"""A program of its own: it sets up its streams, takes the checkpoint from the folder where it is run, measures each
model in a process, has an int8 GPT with a forward for inference, and leaves a report in a folder below DIR."""

if __name__ == "__main__" and not __package__:
    raise SystemExit("Run it from the project's folder as a module: python -m exercises.ex09_quantize_script")

import argparse
import faulthandler
import json
import multiprocessing
import os
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path

import torch
from torch import nn

from llm.checkpoint import load_gpt
from llm.corpus import CorpusError, held_out_tokens
from llm.model import GPT, GPTConfig

from .ex05_linear_swap import swap_linears
from .ex06_perplexity import perplexity
from .ex08_cpu_speed import paired_speedup

TOKENS = 20_481  # 80 windows of 256 targets
PATH = Path("llm/checkpoint/gpt.safetensors")


class Int8GPT(GPT):
    def __init__(self, gpt):
        nn.Module.__init__(self)
        self.config = gpt.config
        for name, child in swap_linears(gpt).named_children():
            self.add_module(name, child)

    def forward(self, ids, caches=None, start=0):
        x = self.tok_emb(ids) + self.pos_emb.weight[: ids.shape[1]]
        for block in self.blocks:
            x = block(x)
        return self.head(self.ln_f(x))


def apart(model, tokens, context):
    """The perplexity, measured in a process that is forked for it."""
    ours, theirs = multiprocessing.Pipe()

    def work():
        torch.set_num_threads(1)
        try:
            theirs.send(perplexity(model, tokens, context))
        except OSError as error:
            theirs.send(error)

    process = multiprocessing.get_context("fork").Process(target=work)
    process.start()
    result = ours.recv()
    process.join()
    if isinstance(result, OSError):
        raise result
    return result


def main(argv: Sequence[str]) -> int:
    """The command: writes model_fp32.pt and model_int8.pt into --out and prints the six figures.

    argv:    --checkpoint P (default: the project's checkpoint), --out DIR (made if need be; other files in it stay)
    returns: 0; or 2 after one line on stderr that names what was wrong, with all files and folders as before the call.
             SystemExit with one of these codes is right, too
    """
    faulthandler.enable()
    sys.stdout.reconfigure(encoding="utf-8", line_buffering=True)
    parser = argparse.ArgumentParser(prog="ex09_quantize_script", description="Quantizes a GPT checkpoint to int8.")
    parser.add_argument("--checkpoint", type=Path, default=PATH)
    parser.add_argument("--out", type=Path, required=True)
    options = parser.parse_args(argv)
    try:
        sys.stdout.buffer.write("quantizing \u2026\n".encode(sys.stdout.encoding))
        sys.stdout.buffer.flush()
        subprocess.run([sys.executable, "-c", "print('in', __import__('os').getcwd())"], stdout=sys.stdout, check=True)
        _quantize(options.checkpoint, options.out)
    except (CorpusError, OSError, RuntimeError, ValueError, subprocess.SubprocessError) as error:
        print(f"ex09_quantize_script: {error}", file=sys.stderr)
        return 2
    return 0


def load_int8(path: str | Path) -> nn.Module:
    """The quantized model from a file that main wrote, ready to run, in any process."""
    saved = torch.load(path, weights_only=True)
    model = Int8GPT(GPT(GPTConfig(**saved["config"])))  # the right shapes; every value comes from the file
    model.load_state_dict(saved["model"])
    return model.eval()


def _quantize(checkpoint: Path, out: Path) -> None:
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
    models = {"fp32": gpt, "int8": Int8GPT(gpt).eval()}
    with tempfile.TemporaryDirectory(dir=there, prefix=".ex09-") as scratch:
        kilobytes = {}
        for name, model in models.items():
            file = Path(scratch, f"model_{name}.pt")
            torch.save({"config": asdict(gpt.config), "model": model.state_dict()}, file)
            kilobytes[name] = file.stat().st_size / 1024
        context = gpt.config.block_size
        perplexities = {name: apart(model, tokens, context) for name, model in models.items()}
        speedup = _speedup(models["fp32"], models["int8"], tokens[None, : min(128, context)])
        report = [
            f"fp32: {kilobytes['fp32']:.1f} KB",
            f"int8: {kilobytes['int8']:.1f} KB",
            f"ratio: {kilobytes['fp32'] / kilobytes['int8']:.2f}x",
            f"perplexity fp32: {perplexities['fp32']:.4f}",
            f"perplexity int8: {perplexities['int8']:.4f}",
            f"speedup: {speedup:.2f}x",
        ]
        Path(scratch, "figures.json").write_text(json.dumps(perplexities | {"speedup": speedup}))
        print("\n".join(report), flush=True)
        (out / "report").mkdir(parents=True, exist_ok=True)
        os.replace(Path(scratch, "figures.json"), out / "report" / "figures.json")
        for name in models:
            os.replace(Path(scratch, f"model_{name}.pt"), out / f"model_{name}.pt")


@torch.no_grad()
def _speedup(fp32: nn.Module, int8: nn.Module, ids: torch.Tensor) -> float:
    for _ in range(2):
        fp32(ids), int8(ids)  # warm-up
    return paired_speedup(lambda: fp32(ids), lambda: int8(ids), rounds=9)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
