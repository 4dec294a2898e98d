"""Files are made in memory with safetensors and written by pathlib; whatever was done is noted on a stack and undone on
failure, earlier files among it; ends by SystemExit."""

import contextlib
import json
import os
import sys
from dataclasses import asdict
from pathlib import Path

import safetensors.torch
import torch

from llm.checkpoint import PATH, load_gpt
from llm.corpus import held_out_tokens
from llm.model import GPT, GPTConfig

from .ex05_linear_swap import swap_linears
from .ex06_perplexity import perplexity
from .ex08_cpu_speed import paired_speedup


def main(argv):
    given = dict(zip(argv[::2], argv[1::2], strict=False))
    if "--out" not in given:
        sys.exit(bad("--out DIR is missing"))
    out = Path(given["--out"])
    with contextlib.ExitStack() as undo:
        try:
            work(given.get("--checkpoint", PATH), out, undo)
        except Exception as error:
            sys.exit(bad(f"{type(error).__name__}: {error} ({out})"))
        undo.pop_all()
        for backup in out.glob("*.backup"):
            backup.unlink()
    sys.exit(0)


def bad(words):
    os.write(sys.stderr.fileno(), f"quantize: {words}\n".encode())
    return 2


def work(checkpoint, out, undo):
    gpt = load_gpt(checkpoint)
    tokens = held_out_tokens()[:30_000]
    if tokens.max() >= gpt.config.vocab_size:
        raise ValueError("the text has more tokens than the checkpoint's vocabulary")
    int8 = swap_linears(gpt)
    config = {"config": json.dumps(asdict(gpt.config))}
    for folder in (*reversed(out.parents), out):
        if not folder.exists():
            folder.mkdir()
            undo.callback(folder.rmdir)
    if not out.is_dir():
        raise NotADirectoryError(f"{out} is a file")
    kilobytes = []
    for name, model in (("int8", int8), ("fp32", gpt)):
        file = out / f"model_{name}.pt"
        if file.exists():
            if file.is_dir():
                raise IsADirectoryError(file)
            backup = file.with_suffix(".backup")
            file.rename(backup)
            undo.callback(backup.rename, file)
        undo.callback(file.unlink, missing_ok=True)
        state = {key: value.contiguous().clone() for key, value in model.state_dict().items()}
        kilobytes.append(file.write_bytes(safetensors.torch.save(state, config)) / 1024)
    ids = tokens[128:256].unsqueeze(0)
    with torch.no_grad():
        gpt(ids), int8(ids)
        speed = paired_speedup(lambda: gpt(ids), lambda: int8(ids), rounds=5)
    figures = [perplexity(model, tokens, gpt.config.block_size) for model in (gpt, int8)]
    lines = f"""\
        int8: {kilobytes[0]:.1f} KB
        fp32: {kilobytes[1]:.1f} KB
        ratio: {kilobytes[1] / kilobytes[0]:.2f}x
        perplexity fp32: {figures[0]:.4f}
        perplexity int8: {figures[1]:.4f}
        speedup: {speed:.2f}x
    """
    os.write(sys.stdout.fileno(), lines.encode())


def load_int8(path):
    with safetensors.safe_open(path, framework="pt") as file:
        model = swap_linears(GPT(GPTConfig(**json.loads(file.metadata()["config"]))))
        model.load_state_dict({name: file.get_tensor(name) for name in file.keys()})  # noqa: SIM118 (not a dict)
    return model.eval()
