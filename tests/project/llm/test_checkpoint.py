"""A checkpoint comes back as it was saved, or not at all."""

import pickle

import pytest
import torch
from safetensors.torch import save_file

import llm
from llm.checkpoint import PATH, CheckpointError, load_gpt, save_gpt
from tests.project.tiny import tiny_gpt

SMALLEST = {"vocab_size": 8, "block_size": 4, "n_layer": 1, "n_head": 1, "n_embd": 4, "ffn_mult": 1}


def refusal(path) -> str:
    """What load_gpt says about a file that it must refuse: one line."""
    with pytest.raises(CheckpointError) as error:
        load_gpt(path)
    message = str(error.value)
    assert str(path) in message
    assert "\n" not in message
    return message


def test_a_model_comes_back_rounded_to_half_precision(tmp_path):
    model = tiny_gpt(dropout=0.1, bias=False).train()
    save_gpt(model, tmp_path / "gpt")
    loaded = llm.load_gpt(tmp_path / "gpt")
    assert loaded.config == model.config
    assert not loaded.training
    assert loaded.state_dict().keys() == model.state_dict().keys()
    for name, tensor in loaded.state_dict().items():
        assert tensor.dtype == torch.float32
        assert torch.equal(tensor, model.state_dict()[name].half().float()), name
    assert [file.name for file in tmp_path.iterdir()] == ["gpt"]


def test_no_altered_byte_goes_unnoticed(tmp_path):
    path = tmp_path / "gpt"
    save_gpt(tiny_gpt(**SMALLEST), path)
    good = path.read_bytes()
    for place in range(len(good)):
        bad = bytearray(good)
        bad[place] ^= 1 << place % 8
        path.write_bytes(bad)
        refusal(path)


def test_no_cut_goes_unnoticed(tmp_path):
    path = tmp_path / "gpt"
    save_gpt(tiny_gpt(**SMALLEST), path)
    good = path.read_bytes()
    for length in range(len(good)):
        path.write_bytes(good[:length])
        refusal(path)
    path.write_bytes(good + b"\0")
    refusal(path)


@pytest.mark.parametrize(
    "old, new",
    [(b'n_head\\": 1', b'n_head\\": 2'), (b'"blocks.0.ln_1.weight"', b'"blocks.0.ln_2.weight"')],
    ids=["config", "names"],
)
def test_a_header_that_fits_the_weights_but_is_another_is_refused(old, new, tmp_path):
    """The weights themselves are as they were: two heads instead of one, or two LayerNorms exchanged."""
    path = tmp_path / "gpt"
    save_gpt(tiny_gpt(**SMALLEST), path)
    good = path.read_bytes()
    assert old in good
    path.write_bytes(good.replace(old, b"@@@@@@@@").replace(new, old).replace(b"@@@@@@@@", new))
    assert "does not match its checksum" in refusal(path)


class Bomb:
    def __init__(self, trace):
        self.trace = trace

    def __reduce__(self):
        return open, (self.trace, "w")


@pytest.mark.parametrize("save", [torch.save, lambda bomb, path: path.write_bytes(pickle.dumps(bomb))])
def test_a_pickle_is_refused_and_never_run(save, tmp_path):
    trace = tmp_path / "trace"
    save(Bomb(str(trace)), tmp_path / "gpt")
    assert "is not a checkpoint of this project" in refusal(tmp_path / "gpt")
    assert not trace.exists()


def test_safetensors_of_another_origin_are_refused(tmp_path):
    save_file({"w": torch.ones(2)}, tmp_path / "plain")
    assert "save_gpt" in refusal(tmp_path / "plain")
    save_file({"w": torch.ones(2)}, tmp_path / "other", {"format": "pt"})
    assert "save_gpt" in refusal(tmp_path / "other")


def test_a_model_of_another_architecture_is_refused(tmp_path):
    model = tiny_gpt()
    model.extra = torch.nn.Linear(1, 1)
    save_gpt(model, tmp_path / "gpt")
    assert "is not a checkpoint of this project" in refusal(tmp_path / "gpt")


def test_a_missing_file_names_the_remedy(tmp_path, monkeypatch):
    assert "no checkpoint at" in refusal(tmp_path / "gpt")
    assert "no checkpoint at" in refusal(tmp_path)
    monkeypatch.setattr("llm.checkpoint.PATH", tmp_path / "gpt")
    assert "git checkout -- llm/checkpoint" in refusal(tmp_path / "gpt")
    assert "nox -s train" in refusal(tmp_path / "gpt")


def test_the_shipped_file_is_the_default():
    assert load_gpt.__defaults__ == (PATH,)
    assert PATH.parts[-3:] == ("llm", "checkpoint", "gpt.safetensors")
