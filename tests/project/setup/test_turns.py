"""What takes long takes turns: with as many seeds as there are turns, every case runs once."""

from types import SimpleNamespace

import pytest

from tests.project import conftest


def chosen(seed, *, whole=False, keyword="", args=("tests/project",)):
    """Of seven cases of one test that takes turns of three, and one that takes none: those that run."""
    mark = pytest.mark.in_turns(3).mark
    items = [SimpleNamespace(name=k, originalname="test_long", get_closest_marker=lambda _: mark) for k in range(7)]
    items.append(SimpleNamespace(name="quick", originalname="test_quick", get_closest_marker=lambda _: None))
    option = SimpleNamespace(whole=whole, keyword=keyword, seed=seed)
    left = []
    hook = SimpleNamespace(pytest_deselected=lambda items: left.extend(items))
    conftest.pytest_collection_modifyitems(SimpleNamespace(option=option, args=args, hook=hook), items)
    assert len(items) + len(left) == 8
    return [item.name for item in items]


def test_every_case_has_its_turn():
    runs = [chosen(seed) for seed in (11, 12, 13)]
    assert all("quick" in run and 3 <= len(run) <= 4 for run in runs)
    assert sorted(k for run in runs for k in run if k != "quick") == list(range(7))


@pytest.mark.parametrize("wish", [{"whole": True}, {"keyword": "long"}, {"args": ("tests/x.py::test_long",)}], ids=str)
def test_who_asks_for_a_case_gets_it(wish):
    assert len(chosen(11, **wish)) == 8
