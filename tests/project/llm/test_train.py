"""Training: it learns, it reads all of the text, and a stopped run goes on as if it had never stopped."""

import csv
import hashlib
import itertools
import json
import math
from dataclasses import replace

import pytest
import torch

from llm import checkpoint, corpus, train
from llm.checkpoint import load_gpt
from llm.model import GPTConfig
from llm.train import Recipe, Trainer, nats_per_token, orthogonalized
from tests.project.tiny import TINY, some_tokens, tiny_gpt

RECIPE = Recipe(steps=6, batch=4, warmup=2, dropout=0.3)


def trainer(recipe=RECIPE, tokens=500):
    return Trainer(GPTConfig(**TINY), recipe, some_tokens(tokens), "cpu")


def same_weights(a, b):
    return all(torch.equal(tensor, b.state_dict()[name]) for name, tensor in a.state_dict().items())


@pytest.mark.parametrize("rates", [{}, {"adam_lr": 0.0}, {"muon_lr": 1e-9}], ids=["both", "muon", "adam"])
def test_two_steps_reduce_the_loss_on_what_they_saw(rates):
    run = trainer(replace(RECIPE, batch=1, warmup=1, dropout=0.0, **rates), tokens=24)  # one window, again and again
    before = nats_per_token(run.model.eval(), run.tokens, "cpu")
    for _ in range(2):
        run.train_step()
    assert nats_per_token(run.result(), run.tokens, "cpu") < before - 0.001


def test_a_stopped_run_ends_with_the_same_bits(tmp_path):
    whole, stopped = trainer(), trainer()
    losses = [whole.train_step() for _ in range(6)]
    assert [stopped.train_step() for _ in range(3)] == losses[:3]
    stopped.save(tmp_path / "state")
    resumed = trainer()
    assert resumed.resume(tmp_path / "state")
    torch.manual_seed(0)  # whatever else the process drew
    assert [resumed.train_step() for _ in range(3)] == losses[3:]
    assert same_weights(resumed.model, whole.model)


def test_a_run_of_another_recipe_or_shape_is_not_resumed(tmp_path):
    trainer().save(tmp_path / "state")
    assert not trainer(replace(RECIPE, seed=1)).resume(tmp_path / "state")
    assert not Trainer(GPTConfig(), RECIPE, some_tokens(500), "cpu").resume(tmp_path / "state")
    assert not trainer().resume(tmp_path / "nothing")


def test_an_epoch_visits_every_window_once_and_the_next_cuts_and_orders_them_anew():
    run, length = trainer(tokens=8 * 42), TINY["block_size"]
    steps = 40 // RECIPE.batch
    starts = []
    for run.step in range(2 * steps):
        starts.append(run._window_starts())
    first, second = torch.cat(starts[:steps]), torch.cat(starts[steps:])
    for epoch in (first, second):
        assert epoch.sort().values.tolist() == list(range(epoch.min(), epoch.min() + 40 * length, length))
        assert epoch.min() >= 0 and epoch.max() + length < len(run.tokens)
    assert first.tolist() != second.tolist()
    assert first.min() != second.min()


def test_the_rate_climbs_stays_and_falls_to_zero():
    rates = [Recipe(steps=100, warmup=10, cooldown=0.5).rate(step) for step in range(101)]
    assert rates[:10] == sorted(rates[:10]) and rates[50:] == sorted(rates[50:], reverse=True)
    assert rates[0] == 0.1 and set(rates[9:51]) == {1.0} and rates[75] == 0.5 and rates[100] == 0.0


@pytest.mark.parametrize("shape", [(6, 6), (4, 12), (12, 4)], ids=["square", "wide", "tall"])
def test_orthogonalized_is_the_newton_schulz_iteration(shape):
    """Ours works on X X^T alone; this is the textbook form, on X, and what it is for: singular values near 1."""
    matrix = torch.randn(shape, generator=torch.Generator().manual_seed(0)).double()
    x = matrix / matrix.norm()
    for _ in range(5):
        square = x @ x.T
        x = 3.4445 * x - 4.7750 * square @ x + 2.0315 * square @ square @ x
    torch.testing.assert_close(orthogonalized(matrix), x, rtol=0, atol=1e-6)
    u, _, v = torch.linalg.svd(matrix, full_matrices=False)
    along = u.T @ x @ v.T  # diagonal: the same singular vectors
    assert ((along.diagonal() > 0.6) & (along.diagonal() < 1.3)).all()
    assert (along - along.diagonal().diag()).abs().max() < 1e-6


def test_the_result_is_what_a_checkpoint_can_hold(tmp_path):
    run = trainer()
    run.train_step()
    model = run.result()
    assert not model.training and model.config.dropout == 0
    checkpoint.save_gpt(model, tmp_path / "gpt")
    assert same_weights(load_gpt(tmp_path / "gpt"), model)


@pytest.mark.parametrize("count", [2, 8, 9, 10, 41, 45], ids=lambda n: f"{n}-tokens")
def test_nats_per_token_counts_every_token_but_the_first_once(count):
    model, tokens = tiny_gpt().double(), some_tokens(count)
    total = 0.0
    for start in range(0, count - 1, 8):  # windows of one context
        inputs, targets = tokens[start : start + 8], tokens[start + 1 : start + 9]
        logs = model(inputs[None])[0].log_softmax(-1)
        total -= sum(logs[place, target].item() for place, target in enumerate(targets))
    assert math.isclose(nats_per_token(model, tokens, "cpu", batch=2), total / (count - 1), rel_tol=1e-6)


def test_the_command_writes_checkpoint_card_and_loss_curve_also_after_a_stop(tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(train, "GPTConfig", lambda vocab_size: GPTConfig(**{**TINY, "vocab_size": vocab_size}))
    monkeypatch.setattr(corpus, "training_tokens", lambda: some_tokens(500, vocab_size=2048))
    monkeypatch.setattr(corpus, "held_out_tokens", lambda: some_tokens(100, vocab_size=2048))
    whole, stopped = run_command(tmp_path / "whole"), tmp_path / "stopped"
    with monkeypatch.context() as patched, pytest.raises(KeyboardInterrupt):
        patched.setattr(Trainer, "train_step", interrupted_at(4))
        run_command(stopped)
    assert not (stopped / "gpt.safetensors").exists()
    run_command(stopped)
    assert "going on from step 2 of 6" in capsys.readouterr().out

    model, card = load_gpt(stopped / "gpt.safetensors"), json.loads((stopped / "card.json").read_text())
    assert same_weights(model, load_gpt(whole / "gpt.safetensors"))
    assert GPTConfig(**card["config"]) == model.config
    assert card["sha256"] == hashlib.sha256((stopped / "gpt.safetensors").read_bytes()).hexdigest()
    assert card["held_out_loss"]["nats_per_token"] == round(nats_per_token(model, corpus.held_out_tokens(), "cpu"), 4)
    held_out = [loss_curve(folder) for folder in (whole, stopped)]
    assert list(held_out[0]) == ["2", "4", "6"]
    assert held_out[0] == held_out[1]


def loss_curve(folder):
    rows = csv.DictReader((folder / "loss_curve.csv").open())
    return {row["step"]: row["held_out_nats_per_character"] for row in rows}


def run_command(folder):
    train.main(f"--steps 6 --batch 4 --evaluate-every 2 --out {folder} --state {folder}/state.pt".split())
    return folder


def interrupted_at(last):
    """A train_step that Ctrl-C ends."""
    step, count = Trainer.train_step, itertools.count(1)

    def train_step(run):
        if next(count) == last:
            raise KeyboardInterrupt
        return step(run)

    return train_step
