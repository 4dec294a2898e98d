"""Writes *.partial beside the targets and replaces them at the end; int8 file is a flat dict with config entries as
tensors; None means success."""

import getopt
import os
import statistics
import sys
import time
from pathlib import Path

import torch

from llm.checkpoint import PATH, load_gpt
from llm.corpus import held_out_tokens
from llm.model import GPT, GPTConfig

from .ex05_linear_swap import swap_linears
from .ex06_perplexity import perplexity

KEYS = ("vocab_size", "block_size", "n_layer", "n_head", "n_embd", "ffn_mult")


def main(argv):
    try:
        options, rest = getopt.getopt(list(argv), "", ["checkpoint=", "out="])
        options = dict(options)
        if rest or "--out" not in options:
            raise getopt.GetoptError("usage: --checkpoint P --out DIR")
    except getopt.GetoptError as error:
        print(error, file=sys.stderr)
        sys.exit(2)
    out = Path(options["--out"])
    existed = [p for p in (out, *out.parents) if p.exists()]
    partial = [out / "model_fp32.pt.partial", out / "model_int8.pt.partial"]
    try:
        gpt = load_gpt(options.get("--checkpoint", PATH))
        tokens = held_out_tokens()[:25_001]
        if int(tokens.max()) >= gpt.config.vocab_size:
            raise ValueError("vocabulary too small")
        int8 = swap_linears(gpt)
        out.mkdir(parents=True, exist_ok=True)
        if any(p.with_suffix("").is_dir() for p in partial):
            raise ValueError("a folder is in the way")
        config = {f"config.{k}": torch.tensor(getattr(gpt.config, k)) for k in KEYS} | {
            "config.bias": torch.tensor(gpt.config.bias)
        }
        torch.save(gpt.state_dict() | config, partial[0])
        torch.save(int8.state_dict() | config, partial[1])
        kb = [p.stat().st_size / 1024 for p in partial]
        ppl = [float(perplexity(m, tokens, gpt.config.block_size)) for m in (gpt, int8)]
        times = {0: [], 1: []}
        with torch.no_grad():
            for _ in range(6):
                for i, m in enumerate((gpt, int8)):
                    t = time.monotonic()
                    m(tokens[None, 100:228])
                    times[i].append(time.monotonic() - t)
        speed = statistics.median(times[0][1:]) / statistics.median(times[1][1:])
        print(f"{'fp32:':<8}{kb[0]:.2f} KB")
        print(f"{'int8:':<8}{kb[1]:.2f} KB")
        print(f"{'ratio:':<8}{kb[0] / kb[1]:.4f}x")
        print(f"perplexity fp32: {ppl[0]:.6f}")
        print(f"perplexity int8: {ppl[1]:.6f}")
        print(f"{'speedup:':<9}{speed:.3f}x")
        sys.stdout.flush()
        for p in partial:
            p.replace(p.with_suffix(""))
    except Exception as error:
        print(f"{type(error).__name__}: {error}", file=sys.stderr)
        for p in partial:
            if p.exists() if out.is_dir() else False:
                p.unlink()
        for p in (out, *out.parents):
            if p not in existed and p.is_dir() and not any(p.iterdir()):
                p.rmdir()
        return 2


def load_int8(path):
    state = torch.load(path, mmap=True)
    config = {k.removeprefix("config."): v.item() for k, v in state.items() if k.startswith("config.")}
    model = swap_linears(GPT(GPTConfig(**config)))
    model.load_state_dict({k: v for k, v in state.items() if not k.startswith("config.")})
    return model.eval()
