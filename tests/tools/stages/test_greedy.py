"""Which members a mean is made of."""

import math

import pytest

from tools.stages.greedy import Tried, best, choose, kept

#: What each member has right; a mean has what any of its members has.
KNOWN = {"a": {1, 2, 3}, "b": {1, 2}, "c": {4}, "d": {2, 3}}


def loss(names: list[str]) -> float:
    return 9.0 - len(set.union(*(KNOWN[name] for name in names)))


def test_the_best_first_and_then_what_helps() -> None:
    asked: list[list[str]] = []

    def taste(names: list[str]) -> float:
        asked.append(names)
        return loss(names)

    tried = choose({name: loss([name]) for name in KNOWN}, taste)
    assert [one.name for one in tried] == ["a", "b", "d", "c"], "of equals the first named"
    assert kept(tried) == ["a", "c"] and best(tried) == 5.0
    assert asked == [["a", "b"], ["a", "d"], ["a", "c"]]
    assert tried[0] == Tried("a", 6.0, 6.0, True) and tried[1] == Tried("b", 7.0, 6.0, False)


def test_as_good_is_not_better() -> None:
    tried = choose({"x": 1.0, "y": 1.0}, lambda names: 1.0)
    assert kept(tried) == ["x"]


@pytest.mark.parametrize("broken", [math.nan, math.inf])
def test_what_is_no_number_is_last_and_left_out(broken: float) -> None:
    tried = choose({"x": broken, "y": 2.0}, lambda names: broken)
    assert kept(tried) == ["y"] and best(tried) == 2.0
    assert [one.name for one in choose({"x": broken}, lambda names: 0.0)] == ["x"]
