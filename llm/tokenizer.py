"""Byte-level BPE (Sennrich et al. 2016, over bytes as in GPT-2) through the `tokenizers` library.

All 256 bytes are in the vocabulary and nothing is normalized, so that any text comes back as it went in.
`python -m llm.tokenizer` trains tokenizer.json again, from the training plays alone.
"""

from collections.abc import Iterable, Iterator
from functools import cache
from pathlib import Path

import tokenizers

PATH = Path(__file__).with_name("tokenizer.json")
VOCAB_SIZE = 2048


class Tokenizer:
    """encode and decode, and nothing else to know."""

    def __init__(self, bpe: tokenizers.Tokenizer):
        self._bpe = bpe
        self.vocab_size = bpe.get_vocab_size()

    def encode(self, text: str) -> list[int]:
        return self._bpe.encode(text).ids

    def decode(self, ids: Iterable[int]) -> str:
        return self._bpe.decode(list(ids), skip_special_tokens=False)

    def stream(self, ids: Iterable[int]) -> Iterator[str]:
        """The text of decode(ids) piece by piece, each as soon as it is complete."""
        pending = []
        for token in ids:
            pending.append(token)
            text = self.decode(pending)
            if not text.endswith("\ufffd"):  # else the next token may complete a letter of several bytes
                yield text
                pending = []
        if pending:
            yield self.decode(pending)


@cache
def load_tokenizer(path: Path = PATH) -> Tokenizer:
    if not path.exists():
        raise FileNotFoundError(f"no tokenizer at {path}: run `git checkout -- {PATH.name}` in the folder llm")
    return Tokenizer(tokenizers.Tokenizer.from_file(str(path)))


def train_tokenizer(texts: Iterable[str], vocab_size: int = VOCAB_SIZE) -> tokenizers.Tokenizer:
    bpe = tokenizers.Tokenizer(tokenizers.models.BPE())
    bpe.pre_tokenizer = tokenizers.pre_tokenizers.ByteLevel(add_prefix_space=False)
    bpe.decoder = tokenizers.decoders.ByteLevel()
    alphabet = tokenizers.pre_tokenizers.ByteLevel.alphabet()
    trainer = tokenizers.trainers.BpeTrainer(vocab_size=vocab_size, initial_alphabet=alphabet, show_progress=False)
    bpe.train_from_iterator(texts, trainer)
    return bpe


if __name__ == "__main__":
    from llm.corpus import training_plays

    train_tokenizer(training_plays().values()).save(str(PATH))
    print(f"wrote {PATH}")
