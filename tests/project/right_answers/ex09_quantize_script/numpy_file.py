"""The int8 file is an npz archive, and the loaded layers keep their codes as NumPy arrays; figures are printed by
sys.stdout.write, and progress goes to stderr."""

import argparse
import json
import sys
import tempfile
from dataclasses import asdict
from pathlib import Path

import numpy as np
import torch
from torch import nn

from llm.checkpoint import PATH, load_gpt
from llm.corpus import held_out_tokens
from llm.model import GPT, GPTConfig

from .ex02_per_channel import quantize_per_channel
from .ex04_int8_product import int8_matmul
from .ex06_perplexity import perplexity
from .ex08_cpu_speed import paired_speedup


class Layer(nn.Module):
    def __init__(self, codes, scales, bias):
        super().__init__()
        self.codes, self.scales, self.added = codes, torch.from_numpy(scales), bias

    def forward(self, x):
        return int8_matmul(x, torch.from_numpy(self.codes), self.scales, self.added)


def arrays_of(gpt):
    """By name: codes and scales of each Linear, all else as it is."""
    arrays = {"config": np.frombuffer(json.dumps(asdict(gpt.config)).encode(), np.uint8)}
    linears = {f"{name}.weight" for name, m in gpt.named_modules() if isinstance(m, nn.Linear)}
    for name, value in gpt.state_dict().items():
        if name in linears:
            codes, scales = quantize_per_channel(value)
            arrays[f"{name}:codes"], arrays[f"{name}:scales"] = codes.numpy(), scales.numpy()
        else:
            arrays[name] = value.numpy()
    return arrays


def model_of(arrays):
    with torch.device("meta"):
        model = GPT(GPTConfig(**json.loads(bytes(arrays["config"]))))
    for name, linear in list(model.named_modules()):
        if isinstance(linear, nn.Linear):
            bias = torch.from_numpy(arrays[f"{name}.bias"]) if f"{name}.bias" in arrays else None
            parent, _, last = name.rpartition(".")
            layer = Layer(arrays[f"{name}.weight:codes"], arrays[f"{name}.weight:scales"], bias)
            setattr(model.get_submodule(parent), last, layer)
    rest = {name: torch.from_numpy(arrays[name]) for name in model.state_dict()}
    model.load_state_dict(rest, assign=True)
    return model.eval()


def load_int8(path):
    with np.load(path) as file:
        return model_of({name: file[name] for name in file.files})


def work(checkpoint, out):
    if out.exists() and not out.is_dir():
        raise ValueError(f"--out {out} is not a folder")
    gpt = load_gpt(checkpoint)
    print("loaded", file=sys.stderr)
    tokens = held_out_tokens()[1_000:21_001]
    if int(tokens.max()) + 1 > gpt.config.vocab_size:
        raise ValueError(f"the model knows {gpt.config.vocab_size} tokens only")
    int8 = model_of(arrays_of(gpt))
    ids = tokens[None, :128]
    with torch.inference_mode():
        gpt(ids), int8(ids)
        speed = paired_speedup(lambda: gpt(ids), lambda: int8(ids), rounds=7)
    before, after = (perplexity(model, tokens, gpt.config.block_size) for model in (gpt, int8))
    print("measured", file=sys.stderr)
    near = next(folder for folder in (out, *out.parents) if folder.is_dir())
    with tempfile.TemporaryDirectory(dir=near) as scratch:
        fp32_file, int8_file = Path(scratch, "model_fp32.pt"), Path(scratch, "model_int8.pt")
        torch.save(gpt.state_dict(), fp32_file)
        with int8_file.open("wb") as file:
            np.savez(file, **arrays_of(gpt))
        for name in ("model_fp32.pt", "model_int8.pt"):
            if (out / name).is_dir():
                raise ValueError(f"{out / name} is a folder")
        a, b = (file.stat().st_size / 1024 for file in (fp32_file, int8_file))
        sys.stdout.write(f"fp32: {a:.1f} KB\nint8: {b:.1f} KB\nratio: {a / b:.3f}x\nperplexity fp32: {before:.5f}\n")
        sys.stdout.write(f"perplexity int8: {after:.5f}\nspeedup: {speed:.2f}x\n")
        sys.stdout.flush()
        out.mkdir(parents=True, exist_ok=True)
        fp32_file.replace(out / fp32_file.name)
        int8_file.replace(out / int8_file.name)


def main(argv):
    parser = argparse.ArgumentParser()
    parser.add_argument("--checkpoint", default=PATH)
    parser.add_argument("--out", type=Path, required=True)
    options = parser.parse_args(argv)
    try:
        work(options.checkpoint, options.out)
    except Exception as error:
        parser.error(" ".join(str(error).split()))
