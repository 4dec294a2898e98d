"""Text from a GPT that is given: `nox -s generate` prints it as it comes (grader/commands/generate.py)."""

from collections.abc import Iterator
from typing import TYPE_CHECKING

# torch takes a second to import, and the command answers a wrong option at once.
if TYPE_CHECKING:
    from llm.model import GPT
    from llm.tokenizer import Tokenizer


def continuation(
    model: "GPT",
    tokenizer: "Tokenizer",
    prompt: str,
    tokens: int,
    temperature: float = 0.8,
    top_k: int | None = None,
    seed: int | None = None,
) -> Iterator[str]:
    """The text that the model adds to a prompt, piece by piece.

    prompt:  at least one character
    tokens:  how many to add
    temperature, top_k, seed: as in GPT.generate
    raises:  ValueError as GPT.generate
    """
    yield from tokenizer.stream(model.generate(tokenizer.encode(prompt), tokens, temperature, top_k, seed))
