"""README shows what the commands really print, and names no command that there is not."""

import re

import pytest

import noxfile
from grader.bench.claims import CLAIMS
from grader.commands import check
from grader.results.paths import ROOT
from llm.checkpoint import load_card
from tests.project.sandbox.test_hostile import EARNS, samples, text_of

README, GRADING = ((ROOT / name).read_text() for name in ("README.md", "GRADING.md"))
SEED = 7


@pytest.fixture
def printed(monkeypatch, capsys):
    """What `nox -s check --` prints on a terminal of 80 columns."""
    monkeypatch.chdir(ROOT)
    monkeypatch.setenv("COLUMNS", "80")
    monkeypatch.delenv("NO_COLOR", raising=False)

    def run(*argv) -> str:
        check.main([*argv, "--seed", str(SEED)])
        return capsys.readouterr().out

    return run


def block(first_line: str) -> str:
    """The fenced block of README that holds this line."""
    return next(text for text in re.findall(r"```\n(.*?)\n```", README, re.DOTALL) if first_line in text)


def test_nothing_is_left_to_fill_in():
    assert not re.search(r"@@|TODO:|FIXME", README)


def test_the_board_is_the_one_of_an_untouched_clone(printed):
    shown = block("Quantization kata · exercises")
    assert shown.strip() in printed()


def test_the_mistake_is_explained_as_shown(printed, tmp_path):
    solution = (ROOT / "solutions" / "ex01_round_trip.py").read_text()
    mistake = solution.replace("torch.round(w.float() / scale).clamp", "(w.float() / scale).clamp")
    assert mistake != solution
    (tmp_path / "ex01_round_trip.py").write_text(mistake)
    shown = block("Every weight gets the nearest code.").splitlines()
    output = printed("ex01", "--submission", str(tmp_path)).splitlines()
    missing = [line for line in shown if line not in output and not line.strip("│ ").startswith("edit")]
    assert not missing


def test_every_command_exists():
    sessions = {name for name in vars(noxfile) if hasattr(getattr(noxfile, name), "venv_backend")}
    assert "check" in sessions
    both = README + GRADING
    assert set(re.findall(r"nox -s (\w+)", both)) <= sessions
    for module in re.findall(r"python -m ((?:exercises|llm|grader|tests)\.[\w.]+)", both):
        assert (ROOT / f"{module.replace('.', '/')}.py").exists(), module
    for file in re.findall(r"\b((?:tests|exercises|grader|llm|solutions)/[\w./]*\w\.\w+)", both):
        assert (ROOT / file).exists() or "NAME" in file, file


def test_the_claims_are_those_that_the_command_measures():
    for name, claim in CLAIMS.items():
        row = re.search(rf"^\| {name.upper()} \| (.*?) \| (.*?) \| (.*?) \|$", README, re.MULTILINE)
        assert row and row[1] == claim and re.search(r"\d", row[2]) and row[3], name


def test_the_loss_is_the_cards():
    loss = load_card()["held_out_loss"]
    assert f"{loss['nats_per_character']:.3f} nats per character" in README


def test_the_table_of_exercises_is_complete():
    names = {path.name[:4] for path in (ROOT / "exercises").glob("ex*.py")}
    assert set(re.findall(r"^\| (ex\d\d) ", README, re.MULTILINE)) == names


@pytest.mark.parametrize("text", [README, GRADING], ids=["README", "GRADING"])
def test_every_table_is_one(text):
    """A line of dashes below its first, and as many columns everywhere: else Markdown shows it as one paragraph."""
    for table in re.findall(r"(?:^\|.*\n)+", text, re.MULTILINE):
        head, dashes, *rows = table.splitlines()
        assert re.fullmatch(r"(\|-+:?)+\|", dashes), head
        assert {row.count("|") for row in rows} == {head.count("|")} == {dashes.count("|")}, head


def test_it_is_short():
    assert len(README.splitlines()) <= 220  # 43 of them are the price of every method


def test_the_table_of_hostile_submissions_is_complete_and_none_of_them_gets_more_here():
    rows = re.findall(r"^\| ([a-z ]+) \| (.+) \| (\d+) \| (\S+) \| (\S+) \| (\d+) \|$", GRADING, re.MULTILINE)
    earned = {name.replace("_", " "): EARNS.search(text_of(path))[1] for name, path in samples().items()}
    assert {name: of for name, _, of, *_ in rows} == earned
    assert all(here == of for _, _, of, *_, here in rows)
    unearned = [sum("**" in row[k] for row in rows) for k in (3, 4)]
    assert f"Of {len(rows)} submissions {unearned[0]} get credit" in GRADING.replace("\n", " ")
    assert f"{unearned[1]} by its XML" in GRADING.replace("\n", " ")
