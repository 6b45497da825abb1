"""Exact duplicates: found whatever their case and blanks, one of each group stays, in order."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.tools.curate.rows import places, table
from tools.curate.exact import dedup
from tools.curate.hashing import signed
from tools.curate.result import Example
from tools.recipe.operators.declared import Dedup

TEXT = st.text(st.sampled_from("aB .!+ä"), max_size=4)
PAIRS = st.lists(st.tuples(TEXT, TEXT), max_size=12)


@pytest.mark.parametrize("by", ["prompt", "completion", "both"])
@pytest.mark.parametrize("keep", ["first", "best"])
@given(pairs=PAIRS)
def test_of_each_group_one_stays(by: str, keep: str, pairs: list[tuple[str, str]]) -> None:
    def key(pair: tuple[str, str]) -> str:
        return signed({"prompt": pair[0], "completion": pair[1], "both": "\n".join(pair)}[by])

    result = dedup(table(*pairs), 0, Dedup(by, keep))  # type: ignore[arg-type]
    left = places(result.rows)
    assert left == sorted(left)
    kept = [key(pairs[number - 1]) for number in left]
    told = [one for one in kept if one]
    assert len(set(told)) == len(told), "no duplicate stays"
    assert set(kept) == {key(pair) for pair in pairs}, "never both twins"
    assert sum(result.left.values()) == len(pairs) - len(left)
    if keep == "first":
        assert all(
            key(pairs[n - 1]) != key(pair) or not key(pair) for n in left for pair in pairs[: n - 1]
        )


def test_signs_and_answers_are_told_apart() -> None:
    rows = table(("3 + 4?", " 7"), ("3 * 4?", " 12"), ("Name one.", " a"), ("name ONE", " b"))
    assert places(dedup(rows, 0, Dedup()).rows) == [1, 2, 3, 4]
    assert places(dedup(rows, 0, Dedup("prompt")).rows) == [1, 2, 3]
    assert places(dedup(rows, 0, Dedup("prompt", "all_answers")).rows) == [1, 2, 3, 4]


def test_the_best_stays() -> None:
    rows = table(("q", "short"), ("q", "the longest of all"), ("q", "quite long"))
    assert places(dedup(rows, 0, Dedup("prompt", "best")).rows) == [2]
    scored = rows.append_column("score", [[0.1, 0.2, 0.9]])
    assert places(dedup(scored, 0, Dedup("prompt", "best")).rows) == [3]


def test_the_account() -> None:
    result = dedup(table(("a b", "c"), ("x", "y"), ("A  b.", "C!")), 0, Dedup())
    assert result.left == {"same prompt and completion": 1}
    assert result.examples == (Example("mine:3", "same prompt and completion as mine:1", "A b."),)
