"""Two results are the same up to rounding and no further, and so are two messages."""

import torch

from grader.suite.compare_results import same, same_words


def test_values_are_the_same_up_to_rounding_and_no_further():
    ones = torch.ones(2000)
    codes = torch.arange(2000, dtype=torch.int32)
    one_off, two_off = codes.clone(), codes.clone()
    one_off[7] += 1
    two_off[7] += 2
    assert same((ones, [1, "a"]), [ones * (1 + 1e-6), (1, "a")])
    assert same(codes, one_off)
    assert same({"a": ones}, {"b": ones})
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
        assert not same(a, b)
    nothing = float("nan")
    assert same(nothing, nothing)
    assert same(torch.tensor([nothing]), torch.tensor([nothing]))


def test_words_are_the_same_with_numbers_that_nearly_are():
    assert same_words("code 3 of 1,024 at 0.50000", "code 3 of 1,024 at 0.50001")
    assert not same_words("code 3 of 1,024", "code 4 of 1,024")
    assert not same_words("code 3", "codes 3")
