"""Diagnoses: the same mistake in other words is recognized, and another one is not."""

import zipfile
from collections.abc import Iterable
from pathlib import Path

import pytest
import torch

from grader.commands import check
from grader.run import runner
from grader.suite import diagnosis
from grader.suite.diagnosis import FailedTest, Misconception
from grader.suite.observation import Observation
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
        "return torch.where(largest > 0, largest / (2 ** (bits - 1) - 1), whole)",
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


QUICK = ("truncates", "per_tensor", "mean_absolute", "one code too high")


def quick_or_whole(names: Iterable[str]) -> list:
    return [pytest.param(name, marks=[pytest.mark.whole] * (name not in QUICK)) for name in names]


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


@pytest.mark.parametrize("name", quick_or_whole(SAME_MISTAKES))
def test_a_mistake_is_recognized_in_other_words(tmp_path, name):
    exercise, old, new = SAME_MISTAKES[name]
    tests = found(submission(tmp_path, exercise, old, new), exercise)
    assert [name] in tests.values()
    assert all(names in ([name], []) for names in tests.values())


@pytest.mark.parametrize("name", quick_or_whole(OTHER_MISTAKES))
def test_no_match_no_guess(tmp_path, name):
    exercise, old, new = OTHER_MISTAKES[name]
    tests = found(submission(tmp_path, exercise, old, new), exercise)
    assert tests and not any(tests.values())


def test_misconceptions_are_read_from_a_zip_as_from_the_folder(tmp_path, monkeypatch):
    folder = diagnosis.misconceptions("ex01_round_trip")
    with zipfile.ZipFile(tmp_path / "misconceptions.zip", "w") as archive:
        for known in reversed(folder):
            archive.writestr(f"ex01_round_trip/{known.name}.py", known.text)
    monkeypatch.setattr(diagnosis, "TESTS", tmp_path)
    diagnosis.misconceptions.cache_clear()
    try:
        assert diagnosis.misconceptions("ex01_round_trip") == folder
        assert diagnosis.misconceptions("ex02_per_channel") == ()
    finally:
        diagnosis.misconceptions.cache_clear()


def test_a_learner_reads_it_on_the_board(tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(runner, "DIAGNOSIS_SECONDS", 60)  # however busy this machine is
    folder = submission(tmp_path, "ex01_round_trip", CODES, CODES.replace("torch.round", ""))
    assert check.main(["ex01", "--submission", str(folder), "--plain"]) == 1
    said = " ".join(capsys.readouterr().out.split())
    explained = said.partition("(int8)")[2].partition(" edit ")[0]  # the first test that failed
    assert "an answer that casts to int8 without rounding: all 3,072 codes agree" in explained
    assert explained.endswith("think What does a cast do with the fraction?")
    assert "Rounding to nearest, cutting the fraction off" not in explained  # the test's own question


def test_how_much_agrees_is_counted():
    codes = torch.arange(-50, 50, dtype=torch.int8)
    one_off = codes.clone()
    one_off[3] += 1

    def agree(mine, theirs, got: str = "") -> str:
        return diagnosis._how_far(Observation("", (), ("f(w)", got), (("f", mine),)), [("f", theirs)])

    assert agree((codes, codes[:1]), (codes, codes[:1])) == "all 100 codes agree"
    assert agree(codes, one_off) == "99 of 100 codes agree"
    assert agree(0.5, 0.5, "0.5") == "it gets 0.5, too"
    assert agree(0.5, 0.5, "`frozen.0` in train mode") == ""  # the failure is not about the number
    assert diagnosis._how_far(Observation("", (), (), ()), []) == ""


# ---- the search, without a suite -------------------------------------------------------------------------------------

FAILS = Observation("WrongAnswer", (("test_x.py", 3),), ("got 1",), (("f", 1),))
POSSIBLE = [Misconception(name, f'"""Does {name}. Why?"""\n# caught by: test_x') for name in "abc"]
IMPOSSIBLE = [Misconception(name, f'"""Does {name}. Why?"""\n# caught by: test_y') for name in "de"]


@pytest.fixture
def search(monkeypatch):
    """search(seen, passed, tried=3): the names found for a test that FAILS.

    seen:  by test and answer, how the answer fails there; of others it passes
    tried: how many of the possible answers there is time for
    """

    def run(seen: dict[tuple[str, str], Observation], passed: tuple[str, ...] = (), tried: int = 3) -> list[str]:
        test = FailedTest("test_x[1]", "test_x", FAILS, 0.1, passed)
        looks = diagnosis._Search([test], POSSIBLE, IMPOSSIBLE, Path("any"), "ex01_x", 2.0, None)

        def fake_try(id_, answers, seconds, least):
            done = answers[:tried] if answers == POSSIBLE else list(answers)
            looks._seen |= {(id_, m.name): seen.get((id_, m.name)) for m in done}
            return done

        monkeypatch.setattr(looks, "_try", fake_try)
        return [m.name for m in looks._matching(test)]

    return run


@pytest.mark.parametrize("tried, expected", [(3, ["a"]), (2, [])], ids=["all", "time ran out"])
def test_what_nobody_had_the_time_to_try_might_look_like_it_too(search, tried, expected):
    assert search({("test_x[1]", "a"): FAILS}, tried=tried) == expected


def test_a_test_that_fails_whatever_it_is_given_tells_nothing(search):
    seen = {("test_x[1]", name): FAILS for name in "ade"}
    assert search(seen) == []
    assert search({key: seen[key] for key in list(seen)[:2]}) == ["a"]  # one other may be mistaken in two ways


def test_of_two_that_look_alike_the_one_counts_that_passes_where_the_learner_passed(search):
    seen = {("test_x[1]", name): FAILS for name in "ab"}
    assert search(seen, passed=("test_x[2]",)) == ["a", "b"]
    assert search(seen | {("test_x[2]", "a"): FAILS}, passed=("test_x[2]",)) == ["b"]


def test_of_two_that_look_alike_the_one_comes_first_that_explains_more_of_the_failures(monkeypatch):
    tests = [FailedTest(f"test_{name}", f"test_{name}", FAILS, 0.1) for name in "xz"]
    told: list[tuple[str, list[str]]] = []
    looks = diagnosis._Search(
        tests, POSSIBLE, IMPOSSIBLE, Path("any"), "ex01_x", 2.0, lambda id_, found: told.append((id_, _names(found)))
    )
    matching = {"test_x": POSSIBLE[:2], "test_z": POSSIBLE[1:2]}
    looks._seen = {(test, m.name): FAILS for test in matching for m in POSSIBLE}
    monkeypatch.setattr(looks, "_matching", lambda test: matching[test.id])
    looks.pytest_runtestloop(None)
    assert told == [("test_x", ["a", "b"]), ("test_z", ["b"]), ("test_x", ["b", "a"])]


def _names(found) -> list[str]:
    return [match.name for match in found]


def test_what_looks_like_three_mistakes_is_no_diagnosis(search):
    assert search({("test_x[1]", name): FAILS for name in "abc"}) == []


def test_a_mistake_is_not_looked_for_where_its_own_test_passed(monkeypatch):
    looked = []
    monkeypatch.setattr(diagnosis, "misconceptions", lambda exercise: (*POSSIBLE, *IMPOSSIBLE))
    monkeypatch.setattr(diagnosis, "_Search", lambda failed, possible, impossible, *_: looked.append(possible))
    monkeypatch.setattr(diagnosis.load_exercise, "standing_in", lambda *_: pytest.fail("nothing is to be run"))
    failed = [FailedTest("test_z[1]", "test_z", FAILS, 0.1)]
    tell = looked.append
    diagnosis.diagnose("ex01_x", failed, {"test_x", "test_y"}, Path("any"), 1, 2.0, tell)
    diagnosis.diagnose("ex01_x", [], set(), Path("any"), 1, 2.0, tell)
    assert not looked
