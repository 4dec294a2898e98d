"""Text after a prompt, on random weights; the command that prints it is tested in commands/test_generate.py."""

import subprocess
import sys

import pytest

from llm.generate import continuation
from llm.tokenizer import load_tokenizer
from tests.project.tiny import tiny_gpt


@pytest.fixture(scope="module")
def model():
    return tiny_gpt(vocab_size=2048, block_size=64)


def test_it_is_what_the_model_samples(model):
    tokenizer = load_tokenizer()
    ids = list(model.generate(tokenizer.encode("JULIET:"), 30, 0.8, 50, 7))
    assert "".join(continuation(model, tokenizer, "JULIET:", 30, 0.8, 50, 7)) == tokenizer.decode(ids)


def test_it_comes_piece_by_piece(model):
    pieces = list(continuation(model, load_tokenizer(), "ROMEO:", 20, seed=1))
    assert len(pieces) > 10  # a few of the 20 tokens may be one letter together
    assert next(continuation(model, load_tokenizer(), "ROMEO:", 10**9, seed=1)) == pieces[0]


def test_importing_llm_imports_no_torch():
    """So that help, a wrong option and Ctrl-C are answered at once."""
    code = "import sys, llm.generate; sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code]).returncode == 0
