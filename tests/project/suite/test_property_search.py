"""The smallest inputs that break a law are found, and the same seed looks at the same inputs."""

import time

import pytest
from hypothesis import strategies as st

from grader.suite.property_search import ByChance, smallest_failure


def test_the_smallest_inputs_that_break_a_law_are_found():
    def law(numbers):
        assert sum(numbers) < 100, "too large"

    found = smallest_failure(law, 3, 200, {"numbers": st.lists(st.integers(0, 1000))})
    assert found == {"numbers": [100]}
    assert smallest_failure(lambda n: None, 3, 20, {"n": st.integers()}) is None
    calls = []

    def fickle(n):
        calls.append(n)
        assert len(calls) != 5, "by chance"

    with pytest.raises(ByChance):
        smallest_failure(fickle, 3, 20, {"n": st.integers()})


def test_the_same_seed_looks_at_the_same_inputs():
    def inputs(seed):
        seen = []
        smallest_failure(lambda n: seen.append(n), seed, 20, {"n": st.integers()})
        return seen

    assert inputs(1) == inputs(1) != inputs(2)
    began = time.monotonic()
    inputs(3)
    assert time.monotonic() - began < 5
