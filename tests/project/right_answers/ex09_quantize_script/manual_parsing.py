"""Parses argv by hand, raises SystemExit(0) and SystemExit(2), writes the message as bytes to sys.stderr's print,
extra lines and files."""

import json
import os
import shutil
import sys
import tempfile

import torch

from llm.checkpoint import PATH, load_gpt
from llm.corpus import held_out_tokens
from llm.model import GPT, GPTConfig

from .ex05_linear_swap import swap_linears
from .ex06_perplexity import drift, perplexity
from .ex08_cpu_speed import paired_speedup


def _die(words):
    print(f"error: {words}", file=sys.stderr)
    raise SystemExit(2)


def main(argv):
    options, words = {"--checkpoint": str(PATH)}, list(argv)
    while words:
        word = words.pop(0)
        name, equals, value = word.partition("=")
        if name not in ("--checkpoint", "--out"):
            _die(f"unknown option {word}")
        if not equals:
            if not words:
                _die(f"{word} needs a value")
            value = words.pop(0)
        options[name] = value
    if "--out" not in options:
        _die("--out is missing")
    out = options["--out"]
    scratch = tempfile.mkdtemp()
    try:
        lines = _work(options["--checkpoint"], scratch)
        parents = []
        folder = os.path.abspath(out)
        while not os.path.isdir(folder):
            if os.path.exists(folder):
                raise NotADirectoryError(folder)
            parents.append(folder)
            folder = os.path.dirname(folder)
        names = sorted(os.listdir(scratch))
        if any(os.path.isdir(os.path.join(out, name)) for name in names):
            raise IsADirectoryError(out)
        print("Quantization report\n===================", *lines, sep="\n", flush=True)
        os.makedirs(out, exist_ok=True)
        for name in names:
            shutil.move(os.path.join(scratch, name), os.path.join(out, name))
    except BaseException as error:
        _die(error)
    finally:
        shutil.rmtree(scratch, ignore_errors=True)
    sys.exit(0)


def _work(checkpoint, scratch):
    gpt = load_gpt(checkpoint)
    small = swap_linears(gpt)
    tokens = held_out_tokens()
    tokens = tokens[5000:26000]
    if max(tokens) >= gpt.config.vocab_size:
        raise ValueError(f"the vocabulary of {checkpoint} is too small")
    config = vars(gpt.config)
    torch.save(gpt.state_dict(), f"{scratch}/model_fp32.pt")
    torch.save([json.dumps(config), small.state_dict()], f"{scratch}/model_int8.pt")
    before, after = (perplexity(m, tokens, gpt.config.block_size) for m in (gpt, small))
    with open(f"{scratch}/report.json", "w") as file:
        json.dump({"drift": float(drift(before, after))}, file)
    a, b = (os.path.getsize(f"{scratch}/model_{n}.pt") / 1024 for n in ("fp32", "int8"))
    ids = tokens[:128].view(1, -1)
    with torch.inference_mode():
        gpt(ids), small(ids)
        speed = paired_speedup(lambda: gpt(ids), lambda: small(ids), rounds=5)
    return [
        f"int8: {b:,.0f} KB",
        f"fp32: {a:,.0f} KB",
        f"ratio: {a / b:.2f} x",
        "",
        f"perplexity int8: {after:.2f}",
        f"perplexity fp32: {before:.2f}",
        f"speedup:   {speed:.1f} x",
    ]


def load_int8(path):
    config, state = torch.load(path)
    model = swap_linears(GPT(GPTConfig(**json.loads(config))))
    model.load_state_dict(state, assign=True)
    return model.train(False)
