"""Any text comes back as it went in, also piece by piece."""

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from llm.corpus import training_plays
from llm.tokenizer import PATH, VOCAB_SIZE, load_tokenizer, train_tokenizer

laws = settings(derandomize=True, database=None, deadline=None)
tokenizer = load_tokenizer()


@laws
@given(st.text())
@example("")
@example("ROMEO:\r\nO, she doth teach\tthe torches\r\n\r\n")
@example("\0 \0\n   \n\n\t  x   ")
@example("\u00e9 e\u0301 \u2028 \ufeff \ufffd \U0001f469\u200d\U0001f469\u200d\U0001f467 \U00010ffff")
def test_any_text_comes_back(text):
    ids = tokenizer.encode(text)
    assert tokenizer.decode(ids) == text
    assert "".join(tokenizer.stream(ids)) == text


@laws
@given(st.lists(st.integers(0, 255) | st.integers(0, VOCAB_SIZE - 1)))
def test_streaming_any_tokens_equals_decoding_them(ids):
    """Also those that are no text: a model may stop in the middle of a letter, or never begin it."""
    assert "".join(tokenizer.stream(ids)) == tokenizer.decode(ids)


def test_text_streams_as_soon_as_it_is_complete():
    ids = tokenizer.encode("Z\u00e9Q")
    assert len(ids) == 4  # the second letter has two bytes, and no token for both
    assert list(tokenizer.stream(ids)) == ["Z", "\u00e9", "Q"]


def test_every_byte_is_a_token():
    assert {len(tokenizer.encode(bytes([byte]).decode("latin-1"))) for byte in range(128)} == {1}
    assert {len(tokenizer.encode(bytes([byte]).decode("latin-1"))) for byte in range(128, 256)} == {2}


def test_it_is_what_training_on_the_training_plays_gives():
    assert train_tokenizer(training_plays().values()).to_str(pretty=True) == PATH.read_text(encoding="utf-8")
    assert tokenizer.vocab_size == VOCAB_SIZE


def test_a_missing_file_names_the_remedy(tmp_path):
    with pytest.raises(FileNotFoundError, match="git checkout"):
        load_tokenizer(tmp_path / "tokenizer.json")
