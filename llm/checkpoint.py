"""The trained GPT as one file that cannot run code: safetensors, half precision, its own config and checksum inside."""

import hashlib
import json
from dataclasses import asdict
from pathlib import Path

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor

from llm.model import GPT, GPTConfig

FOLDER = Path(__file__).with_name("checkpoint")
PATH = FOLDER / "gpt.safetensors"
CARD = FOLDER / "card.json"
LOSS_CURVE = FOLDER / "loss_curve.csv"


class CheckpointError(RuntimeError):
    """The checkpoint is missing, cut short or altered."""


def save_gpt(model: GPT, path: Path) -> None:
    """Writes weights as float16, with the config and a checksum of both in the file's metadata."""
    weights = {name: tensor.detach().half().cpu().contiguous() for name, tensor in model.state_dict().items()}
    config = json.dumps(asdict(model.config), sort_keys=True)
    partial = Path(f"{path}.partial")
    save_file(weights, partial, {"config": config, "sha256": _checksum(config, weights)})
    partial.chmod(0o644)  # safetensors makes files that only their owner can read
    partial.replace(path)  # all of the file or none of it


def load_gpt(path: str | Path = PATH) -> GPT:
    """The GPT at path as float32 on the CPU, in eval mode.

    raises: CheckpointError for a file that is missing, is no checkpoint of save_gpt, or does not match its checksum
    """
    path = Path(path)
    if not path.is_file():
        raise CheckpointError(f"no checkpoint at {path}: {_remedy(path)}")
    try:
        with safe_open(path, framework="pt") as file:
            metadata = file.metadata() or {}
            weights = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118 (not a dict)
        config = metadata["config"]
        if metadata["sha256"] != _checksum(config, weights):
            raise CheckpointError(f"the checkpoint {path} does not match its checksum: {_remedy(path)}")
        model = GPT(GPTConfig(**json.loads(config)))
        model.load_state_dict({name: tensor.float() for name, tensor in weights.items()})
    except (SafetensorError, KeyError, ValueError, TypeError, RuntimeError, OSError) as error:
        if isinstance(error, CheckpointError):
            raise
        reason = str(error).splitlines()[0]
        raise CheckpointError(f"{path} is not a checkpoint of this project ({reason}): {_remedy(path)}") from None
    return model.eval()


def load_card() -> dict:
    """What is known of the shipped checkpoint: how it was made and how good it is.

    raises: CheckpointError
    """
    try:
        return json.loads(CARD.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        raise CheckpointError(f"no readable card at {CARD}: {_remedy(PATH)}") from None


def _checksum(config: str, weights: dict[str, Tensor]) -> str:
    digest = hashlib.sha256(config.encode())
    for name in sorted(weights):
        tensor = weights[name]
        digest.update(f"{name} {tensor.dtype} {tuple(tensor.shape)}\0".encode())
        digest.update(tensor.reshape(-1).view(torch.uint8).numpy().data)
    return digest.hexdigest()


def _remedy(path: Path) -> str:
    if path.resolve() == PATH.resolve():
        return "run `git checkout -- llm/checkpoint` to get it back, or `nox -s train` to train it again"
    return "name a file that llm.checkpoint.save_gpt wrote, such as llm/checkpoint/gpt.safetensors"
