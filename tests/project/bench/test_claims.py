"""`nox -s bench -- claims`: a row for each of the chapter's claims with a number, in a few seconds on little text."""

import re

import pytest

from grader.bench import claims
from grader.commands import bench
from grader.results.paths import ROOT


@pytest.mark.whole
@pytest.mark.timeout(300)
def test_every_claim_is_measured_and_judged(monkeypatch, capsys):
    monkeypatch.setattr(claims, "TOKENS", 23 * 128)
    assert bench.main(["claims"]) == 0
    rows = re.findall(r"^\| (N\d+) \| (.+?) \| (.+?) \| (.+?) \|$", capsys.readouterr().out, re.MULTILINE)
    assert [row[0] for row in rows] == [f"N{k}" for k in range(1, 11)]
    for name, claim, measured, verdict in rows:
        assert claim == claims.CLAIMS[name.lower()]
        assert re.search(r"\d\.\d|\d%", measured), name
        # speed is the machine's, size that of a file with embeddings in it
        assert verdict.startswith("holds") or name in ("N2", "N9"), f"{name}: {verdict}"


def test_a_claim_that_fails_is_said_to_fail(monkeypatch):
    losses = iter([40.0, 41.0])  # of float32 and int8
    monkeypatch.setattr(claims.Measurements, "perplexity", lambda self, model: next(losses))
    assert claims.Measurements(ROOT / "solutions").n3() == ("+2.500%, from 40.00", "does not hold here")
