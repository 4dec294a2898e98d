"""`python -m llm.generate` as its user meets it, on random weights."""

import contextlib
import io
import re
import signal
import subprocess
import sys

import pytest
import torch

from llm.checkpoint import load_gpt, save_gpt
from llm.generate import main, round_trip, with_rounded_weights
from tests import oracle
from tests.project.tiny import TINY, tiny_gpt


@pytest.fixture
def weights(tmp_path):
    """A checkpoint of random weights that fits the tokenizer."""
    path = tmp_path / "gpt.safetensors"
    save_gpt(tiny_gpt(vocab_size=2048, block_size=64), path)
    return str(path)


def text_of(capsys, weights, *arguments):
    """What the command prints on stdout for the given arguments; it must succeed."""
    assert main([*arguments, "--checkpoint", weights]) == 0
    return capsys.readouterr().out


def refusal(capsys, *arguments):
    """The one line on stderr for input that the command cannot use."""
    with pytest.raises(SystemExit) as end:
        main(list(arguments))
    captured = capsys.readouterr()
    assert end.value.code == 2
    assert captured.out == ""
    assert captured.err.startswith("generate: ") and captured.err.count("\n") == 1
    return captured.err


@pytest.mark.parametrize("bits", range(2, 9), ids=lambda b: f"int{b}")
def test_rounding_is_symmetric_and_per_row(bits):
    w = torch.randn(5, 300, generator=torch.Generator().manual_seed(0))
    w[1] *= 1e30
    w[2] = 0
    steps = oracle.channel_scales(w, bits, axis=0)
    oracle.check_bound(round_trip(w, bits), w, steps, "round_trip")
    codes = round_trip(w, bits).double() / steps
    torch.testing.assert_close(codes, codes.round(), rtol=0, atol=1e-4)
    assert codes.abs().max() < oracle.qmax(bits) + 0.5


def test_ties_round_to_the_even_code():
    w = torch.tensor([[7, 0.5, 1.5, 2.5, -0.5, -1.5, -2.5]])
    assert round_trip(w, 4).tolist() == [[7, 0, 2, 2, 0, -2, -2]]


def test_every_linear_is_rounded_and_nothing_else():
    model = tiny_gpt()
    rounded = with_rounded_weights(model, 3).state_dict()
    original = tiny_gpt().state_dict()
    linears = {f"{name}.weight" for name, module in model.named_modules() if isinstance(module, torch.nn.Linear)}
    for name, tensor in model.state_dict().items():
        assert torch.equal(tensor, original[name]), f"{name} of the original changed"
        expected = round_trip(tensor, 3) if name in linears else tensor
        assert torch.equal(rounded[name], expected), name
    assert len(linears) == 4 * TINY["n_layer"] + 1


def test_text_goes_to_stdout_and_the_figures_to_stderr(capsys, weights):
    assert main(["JULIET: \u00e9", "--bits", "4", "--tokens", "20", "--seed", "7", "--checkpoint", weights]) == 0
    captured = capsys.readouterr()
    assert captured.out.startswith("JULIET: \u00e9") and captured.out.endswith("\n")
    assert len(captured.out) > len("JULIET: \u00e9\n")
    assert re.fullmatch(r"\d+\.\d tokens per second, 4 bits, seed 7\n", captured.err)


def test_a_seed_repeats_the_text_and_each_option_changes_it(capsys, weights):
    base = ["--seed", "1", "--tokens", "30"]
    first = text_of(capsys, weights, *base)
    assert first == text_of(capsys, weights, *base, "--bits", "32", "--temperature", "0.8", "ROMEO:")
    changes = ["--seed 2", "--tokens 31", "--bits 4", "--bits 2", "--temperature 0", "--top-k 2", "JULIET:"]
    texts = [text_of(capsys, weights, *base, *change.split()) for change in changes]
    assert len({first, *texts}) == 1 + len(changes)


def test_a_random_seed_is_printed_and_repeats_the_text(capsys, weights):
    assert main(["--checkpoint", weights]) == 0
    captured = capsys.readouterr()
    seed = re.search(r"seed (\d+)", captured.err)[1]
    assert text_of(capsys, weights, "--seed", seed) == captured.out
    assert text_of(capsys, weights) != captured.out


def test_a_prompt_may_be_longer_than_the_context(capsys, weights):
    prompt = "ROMEO:\nO, she doth teach the torches to burn bright!\n" * 10
    assert text_of(capsys, weights, prompt, "--tokens", "3").startswith(prompt)


UNUSABLE = [
    (["--bits", "1"], "--bits is 1: use 2 to 8, or 32"),
    (["--bits", "16"], "--bits is 16: use 2 to 8, or 32"),
    (["--bits", "four"], "--bits: invalid int value: 'four'"),
    ([""], "the prompt is empty: give at least one character"),
    (["\udce9"], "the prompt is not UTF-8"),
    (["--tokens", "0"], "--tokens is 0: use 1 or more"),
    (["--temperature", "-0.5"], "--temperature is -0.5: use 0 or more"),
    (["--temperature", "nan"], "--temperature is nan"),
    (["--temperature", "inf"], "--temperature is inf"),
    (["--top-k", "0"], "--top-k is 0: use 1 or more"),
    (["--seed", "-1"], "--seed is -1: use 0 to"),
    (["ROMEO:", "JULIET:"], "unrecognized arguments: JULIET:"),
]


@pytest.mark.parametrize("arguments, named", UNUSABLE, ids=[named for _, named in UNUSABLE])
def test_options_it_cannot_use_are_named_with_the_remedy(capsys, arguments, named):
    assert named in refusal(capsys, *arguments)


def test_a_checkpoint_it_cannot_use_is_named_with_the_remedy(capsys, tmp_path, weights):
    missing, corrupt, foreign = (str(tmp_path / name) for name in ("missing", "corrupt", "foreign"))
    assert f"no checkpoint at {missing}: name a file" in refusal(capsys, "--checkpoint", missing)
    torch.save(load_gpt(weights), corrupt)
    assert f"{corrupt} is not a checkpoint of this project" in refusal(capsys, "--checkpoint", corrupt)
    save_gpt(tiny_gpt(vocab_size=2047), tmp_path / "foreign")
    assert f"{foreign} knows 2047 tokens, llm/tokenizer.json 2048: name" in refusal(capsys, "--checkpoint", foreign)


def test_text_streams(weights):
    class Screen(io.StringIO):
        shown = ()

        def flush(self):
            self.shown += (self.getvalue(),)

    with contextlib.redirect_stdout(Screen()) as screen:
        main(["--checkpoint", weights, "--tokens", "20"])
    assert len(set(screen.shown)) > 10  # a few of the 20 tokens may be one letter together
    assert screen.shown[0] == "ROMEO:"


def started(*arguments):
    command = [sys.executable, "-m", "llm.generate", *arguments]
    return subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)


def test_ctrl_c_ends_a_text_that_streams(weights):
    run = started("--tokens", "1000000", "--checkpoint", weights)
    assert run.stdout.read(100).startswith("ROMEO:")  # a million tokens would take an hour
    run.send_signal(signal.SIGINT)
    run.stdout.read()
    assert (run.stderr.read(), run.wait(60)) == ("\n", 130)


def test_a_reader_that_leaves_ends_the_text_quietly(weights):
    run = started("--tokens", "1000000", "--checkpoint", weights)
    run.stdout.readline()
    run.stdout.close()
    assert (run.stderr.read(), run.wait(60)) == ("", 0)


def test_importing_llm_imports_no_torch():
    """So that help, a wrong option and Ctrl-C are answered at once."""
    code = "import sys, llm.generate; sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code]).returncode == 0
