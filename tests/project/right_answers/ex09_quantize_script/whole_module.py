"""Whole modules with torch.save, loaded with weights_only=False; writes into DIR directly, and on failure removes what
is new and puts earlier files back."""

import argparse
import os
import sys
import traceback
from pathlib import Path

import torch

from llm.checkpoint import PATH, load_gpt
from llm.corpus import held_out_tokens

from .ex05_linear_swap import swap_linears
from .ex06_perplexity import perplexity
from .ex08_cpu_speed import paired_speedup


def main(argv):
    parser = argparse.ArgumentParser()
    parser.add_argument("--checkpoint", default=str(PATH))
    parser.add_argument("--out", required=True)
    args = parser.parse_args(argv)
    out, made, earlier = Path(args.out), [], []
    try:
        gpt = load_gpt(args.checkpoint)
        int8 = swap_linears(gpt).eval()
        tokens = held_out_tokens()[:20_000]
        if gpt.config.vocab_size <= tokens.max():
            raise ValueError(f"{gpt.config.vocab_size} tokens are too few for the text")
        figures = [perplexity(m, tokens, gpt.config.block_size) for m in (gpt, int8)]
        with torch.no_grad():
            speed = paired_speedup(lambda: gpt(tokens[None, :128]), lambda: int8(tokens[None, :128]), 7)
        for folder in (*reversed(out.parents), out):
            if not folder.is_dir():
                folder.mkdir()
                made.append(folder)
        sizes = []
        for name, model in (("fp32", gpt), ("int8", int8)):
            file = out / f"model_{name}.pt"
            if file.is_dir():
                raise IsADirectoryError(file)
            if file.exists():
                earlier.append((file.rename(f"{file}.old"), file))
            made.append(file)
            torch.save(model, file)
            sizes.append(file.stat().st_size / 1024)
        print(f"fp32: {sizes[0]:,.1f} KB\nint8: {sizes[1]:,.1f} KB\nratio: {sizes[0] / sizes[1]:.3f}x")
        print("perplexity fp32: %.4f\nperplexity int8: %.4f" % tuple(figures))
        print(f"speedup: {speed:.2f}x", flush=True)
    except Exception as error:
        for path in reversed(made):
            if path.is_dir():
                path.rmdir()
            elif path.exists():
                path.unlink()
        for old, file in earlier:
            old.rename(file)
        sys.stderr.write(f"quantizing failed: {type(error).__name__}: {error}\n")
        return 2
    for old, _ in earlier:
        old.unlink()
    return 0


def load_int8(path):
    return torch.load(path, weights_only=False).eval()
