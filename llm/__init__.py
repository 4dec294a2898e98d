"""The GPT under test: model, tokenizer, text, checkpoint, training and generation. It knows nothing of the kata.

What an exercise needs stands here; everything is imported on first use, because torch takes a second.
"""

from importlib import import_module
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from llm.checkpoint import load_gpt
    from llm.model import GPT, GPTConfig

__all__ = ["GPT", "GPTConfig", "load_gpt"]

_HOME = {"GPT": "llm.model", "GPTConfig": "llm.model", "load_gpt": "llm.checkpoint"}


def __getattr__(name: str):
    if name not in _HOME:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(_HOME[name]), name)
