"""The checkpoint in the repository: it is what its card says, and good enough to be quantized."""

import csv
import hashlib

import pytest

from llm import checkpoint, corpus
from llm.model import GPTConfig
from llm.tokenizer import load_tokenizer
from llm.train import nats_per_token, tokens_per_character


def card():
    return checkpoint.load_card()


def test_the_card_belongs_to_the_file():
    assert card()["sha256"] == hashlib.sha256(checkpoint.PATH.read_bytes()).hexdigest()
    assert card()["corpus"]["sha256"] == corpus.SHA256


def test_card_model_and_tokenizer_agree():
    config = checkpoint.load_gpt().config
    assert config == GPTConfig(**card()["config"]) == GPTConfig()
    assert config.vocab_size == load_tokenizer().vocab_size


@pytest.mark.whole
@pytest.mark.timeout(600)
def test_held_out_loss_is_at_most_1_42_nats_per_character_as_the_card_says():
    loss = nats_per_token(checkpoint.load_gpt(), corpus.held_out_tokens(), "cpu") * tokens_per_character()
    assert loss <= 1.42
    assert abs(loss - card()["held_out_loss"]["nats_per_character"]) <= 0.001


def test_the_loss_curve_falls_to_what_the_card_says():
    with checkpoint.LOSS_CURVE.open(encoding="utf-8") as file:
        rows = [{name: float(value) for name, value in row.items()} for row in csv.DictReader(file)]
    steps = [row["step"] for row in rows]
    assert steps == sorted(steps) and steps[-1] == card()["recipe"]["steps"]
    for name in ("train_nats_per_token", "held_out_nats_per_character"):
        assert rows[-1][name] < 0.9 * rows[0][name]
    # While training, only the first part of the held-out text is read: close to the card's figure, not equal.
    assert abs(rows[-1]["held_out_nats_per_character"] - card()["held_out_loss"]["nats_per_character"]) < 0.1
