"""Returns 2 without a word. How does a user find out what went wrong?"""

# caught by: test_bad_input_is_a_clean_error
# says: P does not exist got on stderr: nothing expected a line on stderr, in the command's own words, that names

import argparse
import os
import sys
import tempfile
from dataclasses import asdict
from pathlib import Path

import torch

from llm.checkpoint import PATH, CheckpointError, load_gpt
from llm.corpus import CorpusError, held_out_tokens
from llm.model import GPT, GPTConfig

from .ex05_linear_swap import swap_linears
from .ex06_perplexity import perplexity
from .ex08_cpu_speed import paired_speedup


def main(argv):
    parser = argparse.ArgumentParser(prog="ex09_quantize_script")
    parser.add_argument("--checkpoint", type=Path, default=PATH)
    parser.add_argument("--out", type=Path, required=True)
    options = parser.parse_args(argv)
    try:
        quantize(options.checkpoint, options.out)
    except (CheckpointError, CorpusError, OSError, ValueError, RuntimeError):
        return 2
    return 0


def load_int8(path):
    saved = torch.load(path, weights_only=True)
    model = swap_linears(GPT(GPTConfig(**saved["config"])))
    model.load_state_dict(saved["model"])
    return model.eval()


def save(model, config, file):
    torch.save({"config": asdict(config), "model": model.state_dict()}, file)


def quantize(checkpoint, out):
    there = next(folder for folder in (out.absolute(), *out.absolute().parents) if folder.exists())
    if not there.is_dir():
        raise NotADirectoryError(f"{there} is a file")
    for name in ("model_fp32.pt", "model_int8.pt"):
        if (out / name).is_dir():
            raise IsADirectoryError(f"{out / name} is a folder")
    gpt = load_gpt(checkpoint)
    int8 = swap_linears(gpt)
    report = measure(gpt, int8)
    with tempfile.TemporaryDirectory(dir=there) as scratch:
        new = Path(scratch, "model_fp32.pt"), Path(scratch, "model_int8.pt")
        save(gpt, gpt.config, new[0])
        save(int8, gpt.config, new[1])
        sizes = [file.stat().st_size / 1024 for file in new]
        print("\n".join(sizes_report(*sizes) + report), flush=True)
        out.mkdir(parents=True, exist_ok=True)
        for file in new:
            os.replace(file, out / file.name)


def sizes_report(fp32, int8):
    return [f"fp32: {fp32:.1f} KB", f"int8: {int8:.1f} KB", f"ratio: {fp32 / int8:.2f}x"]


def measure(gpt, int8):
    tokens = held_out_tokens()[:20_481]
    if tokens.max() >= gpt.config.vocab_size:
        raise ValueError("the checkpoint has another vocabulary")
    context = gpt.config.block_size
    before, after = perplexity(gpt, tokens, context), perplexity(int8, tokens, context)
    ids = tokens[None, : min(128, context)]
    with torch.no_grad():
        gpt(ids), int8(ids)
        speedup = paired_speedup(lambda: gpt(ids), lambda: int8(ids), rounds=9)
    return [f"perplexity fp32: {before:.4f}", f"perplexity int8: {after:.4f}", f"speedup: {speedup:.2f}x"]


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
