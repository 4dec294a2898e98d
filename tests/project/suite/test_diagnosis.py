"""Diagnoses: the same mistake in other words is recognized, another one is not, and a slow one costs two seconds."""

import re
import shutil
import subprocess
import sys
import time
import zipfile
from pathlib import Path
from types import SimpleNamespace

import pytest
import torch

from grader.suite import compare_results, diagnosis, property_search
from tests.project import graded

ROOT = graded.ROOT
SOLUTION = ROOT / "solutions"
CODES = "return torch.round(w.float() / scale).clamp(-qmax, qmax).to(torch.int8)"
SAME_MISTAKES = {  # in other words than those of tests/misconceptions
    "truncates": ("ex01_round_trip", CODES, "return torch.trunc(w.float() * (1 / scale)).clamp(-qmax, qmax).char()"),
    "floors": ("ex01_round_trip", CODES, "return (w.double() / scale).floor().clamp(-qmax, qmax).to(torch.int8)"),
    "no_clamp": ("ex01_round_trip", CODES, "return torch.round(w.float().div(scale)).to(torch.int8)"),
    "max_without_abs": ("ex01_round_trip", "largest = w.float().abs().max()", "largest = w.float().flatten().max()"),
    "per_tensor": (
        "ex02_per_channel",
        "return torch.where(largest > 0, largest / (2 ** (bits - 1) - 1), 1.0)",
        "return torch.ones_like(largest) * symmetric_scale(w, bits)",
    ),
    "mean_absolute": (
        "ex03_error_growth",
        "return error.square().mean().sqrt()",
        "return sum(abs(error)) / len(error)",
    ),
    "bias_dropped": (
        "ex05_linear_swap",
        "return int8_matmul(x, self.codes, self.scales, self.bias)",
        "return int8_matmul(x, self.codes, self.scales)",
    ),
    "percent": ("ex06_perplexity", "return after / before - 1", "return (after - before) / before * 100"),
    "no_factor_2": ("ex07_model_size", "return 2 * config.n_layer * batch", "return batch * config.n_layer"),
}
OTHER_MISTAKES = {  # that nobody wrote down
    "one code too high": ("ex01_round_trip", CODES, f"{CODES} + 1"),
    "every tenth weight is lost": (
        "ex01_round_trip",
        CODES,
        f"{CODES} * (torch.arange(w.numel()).view(w.shape) % 10 > 0)",
    ),
    "the scale is a third too large": ("ex01_round_trip", "largest / qmax", "largest / qmax * 1.34"),
    "the error is that of the first row": (
        "ex03_error_growth",
        "return error.square().mean().sqrt()",
        "return error[0]",
    ),
}


def submission(folder: Path, exercise: str, old: str, new: str) -> Path:
    folder.mkdir(exist_ok=True)
    for file in SOLUTION.glob("ex*.py"):
        text = file.read_text()
        if file.stem == exercise:
            assert text.count(old) == 1, (exercise, old)
            text = text.replace(old, new)
        (folder / file.name).write_text(text)
    return folder


def found(folder: Path, *exercises: str, seconds: float = 30) -> dict[str, list[str]]:
    """Of every test that failed the misconceptions found."""
    reports = graded.run_all([graded.Job(str(folder), exercises, 1, diagnosis=seconds)])[0]
    failed = {test: [case for case in cases if case["outcome"] != "passed"] for test, cases in reports.items()}
    return {test: cases[0]["misconceptions"] for test, cases in failed.items() if cases}


@pytest.mark.parametrize("name", SAME_MISTAKES)
def test_a_mistake_is_recognized_in_other_words(tmp_path, name):
    exercise, old, new = SAME_MISTAKES[name]
    tests = found(submission(tmp_path, exercise, old, new), exercise)
    assert [name] in tests.values()
    assert all(names in ([name], []) for names in tests.values())


@pytest.mark.parametrize("name", OTHER_MISTAKES)
def test_no_match_no_guess(tmp_path, name):
    exercise, old, new = OTHER_MISTAKES[name]
    tests = found(submission(tmp_path, exercise, old, new), exercise)
    assert tests and not any(tests.values())


def test_a_learner_reads_it_on_the_board_and_in_plain_pytest(tmp_path):
    folder = submission(tmp_path, "ex01_round_trip", CODES, CODES.replace("torch.round", ""))
    for command in (
        ["-m", "grader.commands.check", "ex01", "--submission", str(folder), "--plain"],
        ["-m", "pytest", "tests/test_ex01_round_trip.py", "--submission", str(folder), "-q"],
    ):
        done = subprocess.run([sys.executable, *command], cwd=ROOT, capture_output=True, text=True)
        said = " ".join(done.stdout.split())
        assert "an answer that casts to int8 without rounding: all 3,072 codes agree" in said
        assert "What does a cast do with the fraction?" in said
        assert "Rounding to nearest, cutting the fraction off" not in said or "pytest" in command


def test_a_diagnosis_leaves_the_session_as_it_was(tmp_path):
    """What the learner's module counts, and the settings it made, are there afterwards; it is imported once."""
    change = f"COUNT.append(1)\n    torch.set_num_threads(3)\n    {CODES.replace('torch.round', '')}"
    folder = submission(tmp_path, "ex01_round_trip", CODES, change)
    file = folder / "ex01_round_trip.py"
    file.write_text(file.read_text().replace("import torch\n", "import torch\n\nCOUNT = []\nprint('imported')\n", 1))
    probe = f"""
import sys, pytest, torch
class Probe:
    def pytest_sessionfinish(self):
        module = sys.modules["exercises.ex01_round_trip"]
        print("left:", len(module.COUNT) > 100, module.__file__, torch.get_num_threads())
options = ["--submission={folder}", "-s", "-q", "--tb=no", "--seed=1"]
pytest.main(["tests/test_ex01_round_trip.py", *options], plugins=[Probe()])
"""
    done = subprocess.run([sys.executable, "-c", probe], cwd=ROOT, capture_output=True, text=True)
    assert f"left: True {file} 3" in done.stdout, done.stdout + done.stderr
    assert done.stdout.count("imported") == 1


def test_it_takes_two_seconds_at_most(tmp_path):
    """Also where a wrong answer never comes back."""
    folder = submission(tmp_path, *SAME_MISTAKES["floors"])
    probe = f"""
import pytest, time
from grader.suite import diagnosis
endless = diagnosis.Misconception("endless", '''\"\"\"Waits forever. For what?\"\"\"
# caught by: test_every_weight_gets_the_nearest_code
def quantize(w, scale, bits=8):
    while True:
        try:
            pass
        except Exception:
            pass
''')
known = diagnosis.misconceptions
diagnosis.misconceptions = lambda exercise: (endless, *known(exercise))
look, spent = diagnosis.Diagnostician.look, []
def timed(*arguments):
    began = time.monotonic()
    result = look(*arguments)
    spent.append(time.monotonic() - began)
    return result
diagnosis.Diagnostician.look = timed
pytest.main(["tests/test_ex01_round_trip.py", "--submission={folder}", "-q", "--tb=no"])
print("looked:", len(spent) > 3, "seconds:", sum(spent))
"""
    done = subprocess.run([sys.executable, "-c", probe], cwd=ROOT, capture_output=True, text=True)
    assert "looked: True" in done.stdout, done.stdout + done.stderr
    assert float(done.stdout.rpartition("seconds:")[2]) < 2 * diagnosis.SECONDS  # of processor time on a busy machine


def test_passing_tests_never_look(tmp_path):
    probe = """
import pytest
from grader.suite import diagnosis
def look(*_):
    raise RuntimeError("a passing test looked")
diagnosis.Diagnostician.look = look
print("code", pytest.main(["tests/test_ex01_round_trip.py", "--submission=solutions", "-q"]))
"""
    done = subprocess.run([sys.executable, "-c", probe], cwd=ROOT, capture_output=True, text=True)
    assert "code 0" in done.stdout, done.stdout + done.stderr


def test_misconceptions_are_read_from_a_zip_as_from_the_folder(tmp_path, monkeypatch):
    folder = diagnosis.misconceptions("ex01_round_trip")
    with zipfile.ZipFile(tmp_path / "misconceptions.zip", "w") as archive:
        for known in reversed(folder):
            archive.writestr(f"ex01_round_trip/{known.name}.py", known.text)
    monkeypatch.setattr(diagnosis, "SUITES", tmp_path)
    diagnosis.misconceptions.cache_clear()
    try:
        assert diagnosis.misconceptions("ex01_round_trip") == folder
        assert diagnosis.misconceptions("ex02_per_channel") == ()
    finally:
        diagnosis.misconceptions.cache_clear()


def test_values_are_the_same_up_to_rounding_and_no_further():
    ones = torch.ones(2000)
    codes = torch.arange(2000, dtype=torch.int32)
    one_off, two_off = codes.clone(), codes.clone()
    one_off[7] += 1
    two_off[7] += 2
    assert compare_results.same((ones, [1, "a"]), [ones * (1 + 1e-6), (1, "a")])
    assert compare_results.same(codes, one_off)
    assert compare_results.same({"a": ones}, {"b": ones})
    for a, b in (
        (ones, ones * (1 + 1e-4)),
        (ones, ones.double()),
        (ones, ones[:-1]),
        (codes, two_off),
        (codes, codes + 1),
        (1, True),
        (1.0, 1.001),
        ("a", "b"),
        (ones, None),
        ([ones], [ones, ones]),
    ):
        assert not compare_results.same(a, b)
    nothing = float("nan")
    assert compare_results.same(nothing, nothing)
    assert compare_results.same(torch.tensor([nothing]), torch.tensor([nothing]))


def test_words_are_the_same_with_numbers_that_nearly_are():
    assert compare_results.same_words("code 3 of 1,024 at 0.50000", "code 3 of 1,024 at 0.50001")
    assert not compare_results.same_words("code 3 of 1,024", "code 4 of 1,024")
    assert not compare_results.same_words("code 3", "codes 3")


def test_the_smallest_inputs_that_break_a_law_are_found():
    from hypothesis import strategies as st

    def law(numbers):
        assert sum(numbers) < 100, "too large"

    found = property_search.smallest_failure(law, 3, 200, {"numbers": st.lists(st.integers(0, 1000))})
    assert found == {"numbers": [100]}
    assert property_search.smallest_failure(lambda n: None, 3, 20, {"n": st.integers()}) is None
    calls = []

    def fickle(n):
        calls.append(n)
        assert len(calls) != 5, "by chance"

    with pytest.raises(property_search.ByChance):
        property_search.smallest_failure(fickle, 3, 20, {"n": st.integers()})


def test_the_same_seed_looks_at_the_same_inputs():
    from hypothesis import strategies as st

    def inputs(seed):
        seen = []
        property_search.smallest_failure(lambda n: seen.append(n), seed, 20, {"n": st.integers()})
        return seen

    assert inputs(1) == inputs(1) != inputs(2)
    began = time.monotonic()
    inputs(3)
    assert time.monotonic() - began < 5


def test_how_much_agrees_is_counted():
    codes = torch.arange(-50, 50, dtype=torch.int8)
    one_off = codes.clone()
    one_off[3] += 1
    assert diagnosis._how_far([("f", (codes, codes[:1]))], [("f", (codes, codes[:1]))]) == ": all 100 codes agree"
    assert diagnosis._how_far([("f", codes)], [("f", one_off)]) == ": 99 of 100 codes agree"
    assert diagnosis._how_far([("f", 0.5)], [("f", 0.5)]) == ": it gets 0.5, too"
    assert diagnosis._how_far([], []) == ""


@pytest.mark.timeout(300)
def test_time_may_run_out_anywhere(tmp_path):
    """Also while pytest itself is at work: the learner's own session goes on, and every test has its outcome."""
    folder = tmp_path / "crashes"
    shutil.copytree(graded.ROOT / "exercises", folder)
    source = (folder / "ex01_round_trip.py").read_text()
    (folder / "ex01_round_trip.py").write_text(re.sub(r"raise NotImplementedError\(.*\)", "raise KeyError(1)", source))
    plugin, suites = "tests.project.hasty", ("ex01_round_trip",)
    jobs = [graded.Job(str(folder), suites, 1, diagnosis=0.05 + 0.006 * k, plugin=plugin) for k in range(40)]
    counts = {sum(map(len, report.values())) for report in graded.run_shared(jobs, 2)}
    assert counts == {sum(map(len, graded.run(folder, "ex01_round_trip").values()))}


@pytest.mark.parametrize("tried, expected", [(3, ["a"]), (2, [])], ids=["all", "time ran out"])
def test_what_nobody_had_the_time_to_try_might_look_like_it_too(monkeypatch, tried, expected):
    known = [diagnosis.Misconception(name, "# caught by: test_x") for name in "abc"]
    controls = [diagnosis.Misconception(name, "# caught by: test_y") for name in "de"]

    def those(some, *_):
        return ([some[0]], tried) if some == known else ([], len(some))

    monkeypatch.setattr(diagnosis, "_those", those)
    item = SimpleNamespace(nodeid="test_x[1]", originalname="test_x")
    failure = SimpleNamespace(is_like=lambda other: True)
    found = diagnosis.Diagnostician()._matching(item, failure, Path("any"), known, controls, 0.1)
    assert [m.name for m in found] == expected
