"""How the checkpoint was made: `nox -s train`, on a GPU where there is one.

Stopped runs go on where they were: every step draws its batch and its dropout from (seed, step) alone.
Writes the checkpoint, its card and its loss curve.
"""

import argparse
import csv
import datetime
import hashlib
import json
import math
import os
import platform
import time
from dataclasses import asdict, dataclass, replace
from pathlib import Path

import torch
from torch import Tensor
from torch.nn import functional as F

from llm import checkpoint, corpus
from llm.model import GPT, GPTConfig
from llm.tokenizer import load_tokenizer

EVALUATION_TOKENS = 20_481  # of the held-out text, while training; the card has the loss over all of it


@dataclass(frozen=True)
class Recipe:
    steps: int = 1300
    batch: int = 16  # windows of one context each
    muon_lr: float = 0.015  # for the matrices inside the blocks
    adam_lr: float = 2e-3  # for embeddings, head, biases and LayerNorms
    warmup: int = 40
    cooldown: float = 0.5  # the share of the steps in which the rate falls to zero
    weight_decay: float = 0.1  # of AdamW's matrices; Muon's shrink by this times adam_lr, too
    momentum: float = 0.95
    beta2: float = 0.98  # above the usual 0.95: with 4,096 tokens a step the second moment is noisy
    dropout: float = 0.0  # in 3.4 epochs there is little to memorize
    clip: float = 1.0
    seed: int = 1337

    def rate(self, step: int) -> float:
        """What both learning rates are multiplied by: linear warm-up, a plateau, linear cool-down to zero."""
        left = (self.steps - step) / max(1, round(self.steps * self.cooldown))
        return min(1.0, (step + 1) / self.warmup, left)


class Muon(torch.optim.Optimizer):
    """Momentum whose matrix is orthogonalized before each step (Jordan et al. 2024, "Muon").

    torch.optim.Muon does the same in bfloat16, which a CPU without such instructions takes five times as long for.
    """

    def __init__(self, params, lr: float, momentum: float, weight_decay: float):
        super().__init__(params, {"lr": lr, "momentum": momentum, "weight_decay": weight_decay})

    @torch.no_grad()
    def step(self, closure=None):
        for group in self.param_groups:
            for p in group["params"]:
                if p not in self.state:
                    self.state[p]["momentum_buffer"] = torch.zeros_like(p)
                buffer = self.state[p]["momentum_buffer"]
                buffer.lerp_(p.grad, 1 - group["momentum"])
                update = orthogonalized(p.grad.lerp(buffer, group["momentum"]))  # Nesterov's look-ahead
                p.mul_(1 - group["lr"] * group["weight_decay"])
                p.add_(update, alpha=-group["lr"] * max(1.0, p.shape[0] / p.shape[1]) ** 0.5)


def orthogonalized(matrix: Tensor, steps: int = 5) -> Tensor:
    """U V^T of the matrix's singular value decomposition, roughly, by Newton-Schulz iteration.

    The quintic a X + b (X X^T) X + c (X X^T)^2 X with Jordan's coefficients, written for the small square matrix X X^T
    alone: all its factors commute, so the large matrix is needed only at both ends.
    """
    a, b, c = 3.4445, -4.7750, 2.0315
    x = matrix.T if matrix.shape[0] > matrix.shape[1] else matrix
    x = x / (x.norm() + 1e-7)
    gram, product = x @ x.T, None
    for _ in range(steps):
        factor = torch.addmm(gram, gram, gram, beta=b, alpha=c)
        factor.diagonal().add_(a)
        product = factor if product is None else factor @ product
        gram = factor @ gram @ factor
    x = product @ x
    return x.T if matrix.shape[0] > matrix.shape[1] else x


class Trainer:
    """A model under training: everything that a resumed run needs, and one method that makes a step."""

    def __init__(self, config: GPTConfig, recipe: Recipe, tokens: Tensor, device: str):
        torch.manual_seed(recipe.seed)
        self.config, self.recipe, self.device, self.step = config, recipe, device, 0
        self.tokens = tokens
        self.model = GPT(replace(config, dropout=recipe.dropout)).to(device)
        blocks = [p for p in self.model.blocks.parameters() if p.dim() == 2]
        tables = [self.model.tok_emb.weight, self.model.pos_emb.weight, self.model.head.weight]
        vectors = [p for p in self.model.parameters() if p.dim() < 2]
        groups = [{"params": tables, "weight_decay": recipe.weight_decay}, {"params": vectors, "weight_decay": 0.0}]
        decay = recipe.weight_decay * recipe.adam_lr / recipe.muon_lr
        self.optimizers = [
            Muon(blocks, lr=recipe.muon_lr, momentum=recipe.momentum, weight_decay=decay),
            torch.optim.AdamW(groups, lr=recipe.adam_lr, betas=(0.9, recipe.beta2)),
        ]

    def train_step(self) -> float:
        """One step of both optimizers; returns the loss before it, in nats per token."""
        recipe = self.recipe
        torch.manual_seed(recipe.seed * 1_000_003 + self.step)
        windows = self.tokens[self._window_starts()[:, None] + torch.arange(self.config.block_size + 1)]
        windows = windows.to(self.device)  # (batch, block_size + 1)
        for optimizer, peak in zip(self.optimizers, (recipe.muon_lr, recipe.adam_lr), strict=True):
            for group in optimizer.param_groups:
                group["lr"] = peak * recipe.rate(self.step)
        self.model.train()
        with torch.autocast(self.device, torch.bfloat16, enabled=has_bf16(self.device)):
            logits = self.model(windows[:, :-1])
            loss = F.cross_entropy(logits.flatten(0, 1).float(), windows[:, 1:].flatten())
        self.model.zero_grad(set_to_none=True)
        loss.backward()
        torch.nn.utils.clip_grad_norm_(self.model.parameters(), recipe.clip)
        for optimizer in self.optimizers:
            optimizer.step()
        self.step += 1
        return float(loss.detach())

    def _window_starts(self) -> Tensor:
        """Where this step's windows begin: each epoch visits the whole text once, cut at another offset."""
        length, batch = self.config.block_size, self.recipe.batch
        steps_per_epoch = (len(self.tokens) - 2 * length) // length // batch
        epoch, place = divmod(self.step, steps_per_epoch)
        order = torch.Generator().manual_seed(self.recipe.seed * 1_000_003 + epoch)
        offset = torch.randint(length, (1,), generator=order)
        windows = torch.randperm(steps_per_epoch * batch, generator=order)
        return offset + length * windows[place * batch : (place + 1) * batch]

    def result(self) -> GPT:
        """The model as it will be shipped: weights rounded to half precision, without dropout."""
        model = GPT(replace(self.config, dropout=0.0)).to(self.device)
        model.load_state_dict({name: p.half().float() for name, p in self.model.state_dict().items()})
        return model.eval()

    def save(self, path: Path) -> None:
        state = {
            "recipe": asdict(self.recipe),
            "config": asdict(self.config),
            "step": self.step,
            "model": self.model.state_dict(),
            "optimizers": [optimizer.state_dict() for optimizer in self.optimizers],
        }
        partial = Path(f"{path}.partial")
        torch.save(state, partial)
        partial.replace(path)

    def resume(self, path: Path) -> bool:
        """Goes on from path if it holds a run of this very recipe and shape."""
        if not path.exists():
            return False
        state = torch.load(path, map_location=self.device, weights_only=True)
        if state["recipe"] != asdict(self.recipe) or state["config"] != asdict(self.config):
            return False
        self.model.load_state_dict(state["model"])
        for optimizer, saved in zip(self.optimizers, state["optimizers"], strict=True):
            optimizer.load_state_dict(saved)
        self.step = state["step"]
        return True


def has_bf16(device: str) -> bool:
    """Whether bfloat16 products are fast there: a GPU, or a CPU with instructions for them."""
    if device == "cuda":
        return torch.cuda.is_bf16_supported()
    names = ("_is_avx512_bf16_supported", "_is_amx_tile_supported")
    return device == "cpu" and any(getattr(torch.cpu, name, bool)() for name in names)


@torch.no_grad()
def nats_per_token(model: GPT, tokens: Tensor, device: str, batch: int = 16) -> float:
    """Mean loss over consecutive windows of one context, every token but the first a target once."""
    length, total = model.config.block_size, 0.0
    full = (len(tokens) - 1) // length * length
    inputs, targets = tokens[:full].view(-1, length), tokens[1 : full + 1].view(-1, length)
    pairs = list(zip(inputs.split(batch), targets.split(batch), strict=True))
    if full < len(tokens) - 1:
        pairs.append((tokens[None, full:-1], tokens[None, full + 1 :]))
    for x, y in pairs:
        logits = model(x.to(device)).float()
        total += float(F.cross_entropy(logits.flatten(0, 1), y.to(device).flatten(), reduction="sum"))
    return total / (len(tokens) - 1)


def tokens_per_character() -> float:
    """Of the held-out text, to turn nats per token into nats per character, which no tokenizer can flatter."""
    return len(corpus.held_out_tokens()) / sum(len(text) for text in corpus.held_out_plays().values())


def main(argv: list[str] | None = None) -> None:
    parser = argparse.ArgumentParser(prog="nox -s train --", description=__doc__.splitlines()[0])
    parser.add_argument("--out", type=Path, default=checkpoint.FOLDER, help="where the three files go")
    parser.add_argument("--state", type=Path, default=Path("build/train.pt"), help="what a stopped run goes on from")
    parser.add_argument("--evaluate-every", type=int, default=200, metavar="STEPS")
    parser.add_argument("--tried", type=Path, help="a JSON file to put into the card: what else was tried")
    for name, default in asdict(Recipe()).items():
        parser.add_argument(f"--{name.replace('_', '-')}", type=type(default), default=default)
    options = parser.parse_args(argv)
    recipe = Recipe(**{name: getattr(options, name) for name in asdict(Recipe())})
    device = "cuda" if torch.cuda.is_available() else "cpu"

    config = GPTConfig(vocab_size=load_tokenizer().vocab_size)
    trainer = Trainer(config, recipe, corpus.training_tokens(), device)
    options.state.parent.mkdir(parents=True, exist_ok=True)
    options.out.mkdir(parents=True, exist_ok=True)
    if trainer.resume(options.state):
        print(f"going on from step {trainer.step} of {recipe.steps} ({options.state})")
    held_out, per_character = corpus.held_out_tokens(), tokens_per_character()
    seconds = _train(trainer, held_out, per_character, options)

    model = trainer.result()
    loss = nats_per_token(model, held_out, device)
    checkpoint.save_gpt(model, options.out / checkpoint.PATH.name)
    card = {
        "model": f"GPT, {sum(p.numel() for p in model.parameters()):,} parameters, stored as float16",
        "sha256": hashlib.sha256((options.out / checkpoint.PATH.name).read_bytes()).hexdigest(),
        "config": asdict(model.config),
        "recipe": asdict(recipe),
        "corpus": {"package": corpus.PACKAGE, "sha256": corpus.SHA256, "held_out": corpus.HELD_OUT},
        "tokens": {"training": len(trainer.tokens), "held_out": len(held_out)},
        "held_out_loss": {
            "nats_per_token": round(loss, 4),
            "nats_per_character": round(loss * per_character, 4),
        },
        "perplexity": {  # of the first held-out tokens: what ex06 and ex09 are compared with
            "tokens": EVALUATION_TOKENS,
            "fp32": round(math.exp(nats_per_token(model, held_out[:EVALUATION_TOKENS], device)), 4),
        },
        "trained": {
            "date": datetime.date.today().isoformat(),
            "device": torch.cuda.get_device_name() if device == "cuda" else _cpu(),
            "bfloat16_autocast": has_bf16(device),
            "torch": torch.__version__,
            "minutes": round(seconds / 60, 1),
        },
        "retrain": "nox -s train",
        "tried": json.loads(options.tried.read_text()) if options.tried else [],
    }
    (options.out / checkpoint.CARD.name).write_text(json.dumps(card, indent=2) + "\n")
    print(f"held out: {loss * per_character:.4f} nats per character, perplexity {math.exp(loss):.2f} per token")
    print(f"wrote {options.out}/{checkpoint.PATH.name}, {checkpoint.CARD.name}, {checkpoint.LOSS_CURVE.name}")


def _cpu() -> str:
    return f"{os.cpu_count()} {platform.machine()} cores, {torch.backends.cpu.get_cpu_capability()}"


def _train(trainer: Trainer, held_out: Tensor, per_character: float, options: argparse.Namespace) -> float:
    """All remaining steps, with a progress bar; returns seconds. The loss curve survives a stop too."""
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

    curve = options.state.with_suffix(".csv")
    rows = list(csv.reader(curve.open()))[1:] if trainer.step and curve.exists() else []
    rows = [row for row in rows if int(row[0]) <= trainer.step]
    seconds = float(rows[-1][4]) if rows else 0.0
    columns = (BarColumn(), MofNCompleteColumn(), TextColumn("{task.description}"), TimeRemainingColumn())
    with Progress(*columns) as progress:
        task = progress.add_task("", total=trainer.recipe.steps, completed=trainer.step)
        began, recent, shown = time.monotonic() - seconds, [], ""
        while trainer.step < trainer.recipe.steps:
            last = trainer.train_step()
            recent.append(last)
            if trainer.step % options.evaluate_every == 0 or trainer.step == trainer.recipe.steps:
                loss = nats_per_token(trainer.result(), held_out[:EVALUATION_TOKENS], trainer.device) * per_character
                seconds = time.monotonic() - began
                train_loss = sum(recent) / len(recent)
                rate = trainer.recipe.rate(trainer.step)
                rows.append([trainer.step, f"{train_loss:.4f}", f"{loss:.4f}", f"{rate:.3f}", f"{seconds:.1f}"])
                with curve.open("w", newline="") as file:
                    header = ["step", "train_nats_per_token", "held_out_nats_per_character", "rate", "seconds"]
                    csv.writer(file, lineterminator="\n").writerows([header, *rows])
                trainer.save(options.state)
                shown = f", held out {loss:.4f} nats a character"
                recent = []
            progress.update(task, completed=trainer.step, description=f"loss {last:.3f}{shown}")
    (options.out / checkpoint.LOSS_CURVE.name).write_bytes(curve.read_bytes())
    return seconds


if __name__ == "__main__":
    main()
