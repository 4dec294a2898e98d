"""`nox -s bench -- quality`: every method of the exercises in one table, here with little text and calibration."""

import json
import re

import pytest

from grader.bench import quality
from grader.commands import bench
from grader.results.paths import ROOT

WINDOWS = 6
ROW = r"^\| ([^|]+) \| ([^|]+) \| ([\d.]+) \| ([^|]*) ?\| ([\d.]+) \| ([\d.]+) \|$"


@pytest.fixture(scope="session")
def measured(tmp_path_factory):
    """(what it printed, the rows that it wrote by model and method, the agreements)"""
    file = tmp_path_factory.mktemp("quality") / "figures.json"
    said = []
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(quality, "CALIBRATION", 8)
        patch.setattr("builtins.print", lambda *words, **_: said.append(" ".join(map(str, words))))
        assert bench.main(["quality", "--windows", str(WINDOWS), "--json", str(file)]) == 0
    report = json.loads(file.read_text())
    assert report["tokens"] == WINDOWS * 256 and report["host"]["torch"]
    return "\n".join(said), {(row["model"], row["method"]): row for row in report["rows"]}, report["agreement"]


def drifts(rows, model="GPT"):
    return {method: row["drift"] for (of, method), row in rows.items() if of == model}


@pytest.mark.whole
@pytest.mark.timeout(900)
def test_the_table_and_the_file_say_the_same(measured):
    said, rows, agreement = measured
    printed = [line.strip("| ").split(" | ") for line in said.splitlines() if re.match(r"\| \S", line)][1:]
    assert len(printed) == len(rows) == 31
    for (model, method, perplexity, drift, bits, size), (key, row) in zip(printed, rows.items(), strict=True):
        assert (model, method) == key
        assert float(perplexity) == pytest.approx(row["perplexity"], abs=0.006)
        assert float(bits) == pytest.approx(row["bits"], abs=0.006)
        assert float(size) == pytest.approx(row["bytes"] / 1e6, abs=0.006)
        if method != "float32":
            assert drift == f"{row['drift']:+.2%} ± {row['standard_error']:.2%}" and row["standard_error"] > 0
    assert all(f"* {what}: {how}" in said for what, how in agreement.items())


@pytest.mark.whole
@pytest.mark.timeout(900)
def test_readme_shows_each_row(measured):
    """Its figures are those of more text; of what needs no text, bits and bytes, they are the same."""
    said, _, _ = measured
    shown, here = (
        [(model, method, *sizes) for model, method, _, _, *sizes in re.findall(ROW, text, re.MULTILINE)]
        for text in ((ROOT / "README.md").read_text(), said)
    )
    assert shown == here and len(here) == 31


@pytest.mark.whole
@pytest.mark.timeout(900)
def test_methods_stand_where_they_belong(measured):
    _, rows, _ = measured
    plain = drifts(rows)
    for bits, most in ((8, 0.01), (4, 0.1), (3, 1), (2, 100)):
        tensor, row, group = (
            plain[f"INT{bits} weights, to nearest, a scale a {what}"] for what in ("tensor", "row", "group")
        )
        assert abs(group) < most
        assert bits == 8 or tensor > row > group > 0
    for bits in (4, 3, 2):
        assert plain[f"INT{bits} weights, GPTQ, a scale a row"] < plain[f"INT{bits} weights, to nearest, a scale a row"]
    assert abs(plain["LLM.int8, threshold 6.0"]) < 0.01 > abs(plain["INT8 Linears, a scale a token"])
    outliers, salient = drifts(rows, "with 3 outlier channels"), drifts(rows, "with 51 salient channels")
    assert abs(outliers["LLM.int8, threshold 6.0"]) < 0.01
    assert outliers["INT8 quantize_dynamic"] > 1 > outliers["INT8 Linears, a scale a token"] > 0.05
    for bits in (4, 3):
        of = "weights, {}, a scale a row"
        assert salient[f"INT{bits} {of.format('AWQ')}"] < 0.7 * salient[f"INT{bits} {of.format('to nearest')}"]
    cache = [plain[f"INT{bits} KV cache, a scale a token and head"] for bits in (8, 4, 2)]
    assert abs(cache[0]) < 0.005 and abs(cache[1]) < 0.05 < cache[2]


@pytest.mark.whole
@pytest.mark.timeout(900)
def test_bits_and_bytes_are_those_of_codes_and_scales(measured):
    _, rows, _ = measured
    weights, of_rows = 13_631_488, 4 * (1536 + 512 + 2048 + 512) + 2048
    size = {method: (row["bits"], row["bytes"]) for (of, method), row in rows.items() if of == "GPT"}
    assert size["float32"] == (32, 4 * weights)
    assert size["INT4 weights, to nearest, a scale a group"] == (4.5, weights * 4.5 / 8)
    assert size["INT3 weights, to nearest, a scale a row"][1] == weights * 3 / 8 + 4 * of_rows
    assert size["INT8 KV cache, a scale a token and head"] == (8.5, 2 * 4 * 512 * 256 * 8.5 / 8)


@pytest.mark.whole
@pytest.mark.timeout(900)
def test_other_peoples_code_agrees(measured):
    _, _, agreement = measured
    assert [what.split()[0] for what in agreement] == ["torch.fake_quantize_per_channel_affine,"] * 2 + [
        "torchao",
        "torchao",
        "gguf",
    ]
    for what, how in agreement.items():
        share, apart = re.search(r"^([\d.]+)% of 13,631,488 codes .* (\d) apart at most$", how).groups()
        assert float(share) > (99 if what.startswith("gguf") else 99.9) and apart == "1", what


def test_words_that_make_no_sense(capsys):
    for windows in ("1", "100000"):
        with pytest.raises(SystemExit) as stopped:
            bench.main(["quality", "--windows", windows])
        assert stopped.value.code == 2 and "use 2 or more" in capsys.readouterr().err
