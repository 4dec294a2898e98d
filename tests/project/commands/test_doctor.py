"""`nox -s doctor` as typed: a line for each thing, the remedy below it, and the exit code."""

import pytest

from grader.commands import doctor
from grader.run.machine import Finding
from grader.sandbox import policy

FIT = Finding("Python", "fit", "3.11.7")
LIMITED = Finding("browser", "limited", "none found", "use another machine")
UNFIT = Finding("text", "unfit", "the plays are not installed", "install them")
ALL = ("Python", "PyTorch", "processor", "text", "checkpoint", "int8 engines", "browser", "disk", "memory", "cores")


@pytest.fixture
def typed(monkeypatch, capsys):
    """typed(findings, ...): exit code and standard output, where this was found."""

    def run(found: list[Finding] | None, *argv: str) -> tuple[int, str]:
        if found is not None:
            monkeypatch.setattr(doctor, "findings", lambda: iter(found))
        code = doctor.main(list(argv))
        return code, capsys.readouterr().out

    monkeypatch.setenv("COLUMNS", "80")
    monkeypatch.delenv("NO_COLOR", raising=False)
    monkeypatch.setattr(policy, "best", lambda: policy.PRACTICE)
    return run


@pytest.mark.parametrize(
    "found, code", [([FIT], 0), ([FIT, LIMITED], 0), ([FIT, UNFIT], 1), ([UNFIT, LIMITED], 1)], ids=str
)
def test_exit_code(typed, found, code):
    assert typed(found)[0] == code


def test_what_is_missing_has_its_remedy_and_is_named_at_the_end(typed):
    _, out = typed([FIT, LIMITED, UNFIT])
    assert [line.split("  ")[0].strip() for line in out.splitlines() if line[1:2] in "✓~✗" and line.strip()] == [
        "✓",
        "~",
        "✗",
        "~",
    ]
    assert "→ install them" in out and "→ use another machine" in out
    assert out.splitlines()[-1] == " Not ready yet: text. What to do stands above."


def test_plain_is_ascii(typed):
    for found in ([FIT, LIMITED, UNFIT], [FIT]):
        assert typed(found, "--plain")[1].isascii()


def test_lines_fit_on_80_columns(typed):
    long = Finding("int8 engines", "unfit", "word " * 60, "remedy " * 60)
    assert max(map(len, typed([long])[1].splitlines())) <= 80


@pytest.mark.parametrize("walls, state", [(policy.PRACTICE, "limited"), (policy.Walls("Landlock 7", True), "fit")])
def test_the_sandbox_is_for_those_who_grade(walls, state):
    found = doctor.sandbox(walls)
    assert (found.state, found.text) == (state, walls.tier)
    assert ("grading" in found.remedy) == (state == "limited")


def test_practice_is_no_sandbox_even_with_seccomp():
    """Linux without Landlock and without root."""
    walls = policy.Walls(policy.PRACTICE.tier, landlock=False, seccomp=True)
    assert walls.apart and doctor.sandbox(walls).state == "limited"


def test_an_unknown_option_is_one_line(typed, capsys):
    assert doctor.main(["--colour"]) == 2
    assert "nox -s doctor -- --help" in capsys.readouterr().err


@pytest.mark.timeout(120)
def test_this_machine(typed):
    code, out = typed(None, "--plain")
    assert code == 0, out
    names = [line[4:17].strip() for line in out.splitlines() if line[1:2] in ("+", "~", "x")]
    assert names == [*ALL, "sandbox"]
    assert "14.8 million parameters" in out and "times float32" in out


@pytest.mark.whole
@pytest.mark.timeout(120)
def test_a_missing_text_has_its_remedy(typed, monkeypatch, tmp_path):
    monkeypatch.setenv("KATA_TEXTS", str(tmp_path))
    code, out = typed(None, "--plain")
    assert code == 1
    assert "0 files *_gut.txt" in out and "-> let KATA_TEXTS name a folder" in out
    assert out.splitlines()[-1] == " Not ready yet: text. What to do stands above."
