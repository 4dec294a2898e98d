"""`nox -s generate` as its user meets it, on random weights."""

import contextlib
import io
import re
import shutil
import signal
import subprocess
import sys

import pytest
import torch

from grader.classroom import bundle
from grader.commands import generate
from grader.commands.generate import by_channels, by_rows, by_torch, main, with_rounded_weights
from grader.results.paths import ROOT, SOLUTIONS
from grader.suite import load_exercise
from llm.checkpoint import load_gpt, save_gpt
from tests import oracle
from tests.project.tiny import TINY, tiny_gpt

REAL_PASSES = generate.passes


@pytest.fixture
def weights(tmp_path):
    """A checkpoint of random weights that fits the tokenizer."""
    path = tmp_path / "gpt.safetensors"
    save_gpt(tiny_gpt(vocab_size=2048, block_size=64), path)
    return str(path)


@pytest.fixture
def passing(monkeypatch):
    """passing("ex02"): no suite runs; of the reference's exercises these pass, and no other."""

    def those(*names: str) -> None:
        monkeypatch.setattr(generate, "passes", lambda name: name in names)
        monkeypatch.setattr(generate, "EXERCISES", SOLUTIONS)

    return those


@pytest.fixture(autouse=True)
def nothing_passes(passing):
    passing()


def text_of(capsys, weights, *arguments):
    """What the command prints on stdout for the given arguments; it must succeed."""
    assert main([*arguments, "--checkpoint", weights]) == 0
    return capsys.readouterr().out


def refusal(capsys, *arguments):
    """The one line on stderr for input that the command cannot use."""
    assert main(list(arguments)) == 2
    captured = capsys.readouterr()
    assert captured.out == ""
    assert captured.err.startswith("error: ") and captured.err.count("\n") == 1
    return captured.err


# ---- who rounds ------------------------------------------------------------------------------------------------------


def roundings():
    names = {"ex02": "ex02_per_channel", "ex01": "ex01_round_trip"}
    ex = {short: load_exercise.load(SOLUTIONS, name) for short, name in names.items()}
    return {"by_channels": by_channels(ex["ex02"]), "by_rows": by_rows(ex["ex01"]), "by_torch": by_torch}


@pytest.mark.parametrize("whose", ["by_channels", "by_rows", "by_torch"])
@pytest.mark.parametrize("bits", range(2, 9), ids=lambda b: f"int{b}")
def test_rounding_is_symmetric_and_per_row(whose, bits):
    rounding = roundings()[whose]
    w = torch.randn(5, 300, generator=torch.Generator().manual_seed(0))
    w[1] *= 1e30
    w[2] = 0
    steps = oracle.channel_scales(w, bits, axis=0)
    oracle.check_bound(rounding(w, bits), w, steps, whose)
    codes = rounding(w, bits).double() / steps
    torch.testing.assert_close(codes, codes.round(), rtol=0, atol=1e-4)
    assert codes.abs().max() < oracle.qmax(bits) + 0.5
    ties = torch.tensor([[7, 0.5, 1.5, 2.5, -0.5, -1.5, -2.5]])
    assert rounding(ties, 4).tolist() == [[7, 0, 2, 2, 0, -2, -2]]


@pytest.mark.parametrize(
    "names, whose",
    [
        (("ex01", "ex02"), "your functions of ex02"),
        (("ex01",), "your round_trip of ex01, row by row"),
        ((), "torch.fake_quantize_per_channel_affine, because neither ex01 nor ex02 passes yet"),
    ],
    ids=["ex01 and ex02", "ex01 alone", "none"],
)
def test_the_learners_functions_round_where_they_pass(capsys, weights, passing, names, whose):
    same = text_of(capsys, weights, "--bits", "3", "--seed", "1", "--tokens", "20")
    passing(*names)
    assert main(["--bits", "3", "--seed", "1", "--tokens", "20", "--checkpoint", weights]) == 0
    captured = capsys.readouterr()
    assert f"weights rounded to 3 bits by {whose}\n" in captured.err
    assert captured.out == same  # the grid is the same, whoever rounds


def test_what_a_learners_function_prints_is_no_text(capsys):
    def rounding(w, bits):
        print("in here")
        return w.requires_grad_()

    with_rounded_weights(tiny_gpt(), rounding, 4)
    captured = capsys.readouterr()
    assert "in here" in captured.err and captured.out == ""


def test_nobody_is_asked_for_the_model_as_it_is(capsys, weights, monkeypatch):
    monkeypatch.setattr(generate, "passes", lambda name: pytest.fail("ran a suite"))
    text_of(capsys, weights, "--tokens", "3")


@pytest.mark.timeout(120)
def test_an_exercise_passes_by_its_suite(tmp_path, capsys):
    assert REAL_PASSES("ex02", SOLUTIONS)
    shutil.copy(ROOT / "tests" / "misconceptions" / "ex01_round_trip" / "floors.py", tmp_path / "ex01_round_trip.py")
    assert not REAL_PASSES("ex01", tmp_path)
    assert capsys.readouterr().out == ""


@pytest.mark.whole
@pytest.mark.timeout(200)
def test_it_works_in_a_class_copy(tmp_path, weights):
    """Where there are no solutions: with stubs, and with the learner's own answers."""
    bundle.students(tmp_path / "kata")
    command = [
        sys.executable,
        "-m",
        "grader.commands.generate",
        "--bits",
        "4",
        "--tokens",
        "9",
        "--checkpoint",
        weights,
    ]
    for whose in ("torch.fake_quantize", "your functions of ex02"):
        done = subprocess.run(command, cwd=tmp_path / "kata", capture_output=True, text=True)
        assert done.returncode == 0 and done.stdout.startswith("ROMEO:")
        assert f"weights rounded to 4 bits by {whose}" in done.stderr
        for name in ("ex01_round_trip.py", "ex02_per_channel.py"):
            shutil.copy(SOLUTIONS / name, tmp_path / "kata" / "exercises")


def test_every_linear_is_rounded_and_nothing_else():
    model = tiny_gpt()
    rounded = with_rounded_weights(model, by_torch, 3).state_dict()
    original = tiny_gpt().state_dict()
    linears = {f"{name}.weight" for name, module in model.named_modules() if isinstance(module, torch.nn.Linear)}
    for name, tensor in model.state_dict().items():
        assert torch.equal(tensor, original[name]), f"{name} of the original changed"
        expected = by_torch(tensor, 3) if name in linears else tensor
        assert torch.equal(rounded[name], expected), name
    assert len(linears) == 4 * TINY["n_layer"] + 1


# ---- the text --------------------------------------------------------------------------------------------------------


def test_text_goes_to_stdout_and_the_figures_to_stderr(capsys, weights):
    assert main(["JULIET: \u00e9", "--bits", "4", "--tokens", "20", "--seed", "7", "--checkpoint", weights]) == 0
    captured = capsys.readouterr()
    assert captured.out.startswith("JULIET: \u00e9") and captured.out.endswith("\n")
    assert len(captured.out) > len("JULIET: \u00e9\n")
    assert re.fullmatch(r"\d+\.\d tokens per second, 4 bits, seed 7", captured.err.splitlines()[-1])


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
    command = [sys.executable, "-m", "grader.commands.generate", *arguments]
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
