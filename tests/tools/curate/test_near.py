"""Near-duplicates: every pair above the threshold, no other, and never both twins."""

import random
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.tools.curate.rows import places, table
from tools.curate import join
from tools.curate.join import alike, prefix
from tools.curate.near import near_dedup, shingles
from tools.curate.overlap import words
from tools.recipe.operators.declared import NearDedup

SETS = st.lists(st.lists(st.integers(0, 12), max_size=9), max_size=9)
THRESHOLD = st.sampled_from([0.3, 0.5, 0.7, 0.8, 1.0])


def jaccard(one: set[Any], other: set[Any]) -> float:
    return len(one & other) / len(one | other) if one | other else 0.0


def found(sets: list[list[int]], threshold: float) -> set[tuple[int, int]]:
    hashes = np.random.default_rng(1).integers(2**64, size=13, dtype=np.uint64)
    members = np.array([hashes[one] for each in sets for one in each], dtype=np.uint64)
    pairs = alike(
        members, np.append(0, np.cumsum([len(each) for each in sets])).astype(int), threshold
    )
    for one, other, share in zip(pairs.one, pairs.other, pairs.share, strict=True):
        assert share == pytest.approx(jaccard(set(sets[one]), set(sets[other])))
    return set(zip(pairs.one.tolist(), pairs.other.tolist(), strict=True))


@settings(max_examples=150)
@given(SETS, THRESHOLD)
def test_all_pairs_and_no_other(sets: list[list[int]], threshold: float) -> None:
    expected = {
        (i, j)
        for j, other in enumerate(sets)
        for i, one in enumerate(sets[:j])
        if one and jaccard(set(one), set(other)) >= threshold - 1e-9
    }
    first = {
        n: next(i for i in range(n + 1) if set(sets[i]) == set(sets[n])) for n in range(len(sets))
    }
    # A set that equals an earlier one is paired with the first such alone.
    wanted = {
        (i, j) for i, j in expected
        if first[i] == i and (first[j] == j or first[j] == i)
    }  # fmt: skip
    assert found(sets, threshold) == wanted


def test_the_prefix() -> None:
    assert prefix(np.array([0, 1, 5, 10, 59]), 0.8).tolist() == [0, 1, 2, 3, 12]


WORD = st.sampled_from("a b c d e f g".split())
TEXTS = st.lists(st.lists(WORD, max_size=14).map(" ".join), max_size=10)


def grams(text: str, size: int) -> set[Any]:
    own = words(text)
    return {own[i : i + size] for i in range(max(len(own) - size + 1, 1))} - {()}


@settings(max_examples=60)
@pytest.mark.parametrize("many", [64, -1])  # -1: one by one, as where very many are alike
@given(
    texts=TEXTS,
    threshold=THRESHOLD,
    size=st.integers(1, 4),
    keep=st.sampled_from(["first", "longest"]),
)
def test_whoever_leaves_has_a_twin_that_stays(
    many: int, texts: list[str], threshold: float, size: int, keep: str
) -> None:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(join, "_MANY", many)
        rows = table(*[(text, "") for text in texts])
        result = near_dedup(rows, 0, NearDedup(size, threshold, "prompt", keep))  # type: ignore[arg-type]
    left = [number - 1 for number in places(result.rows)]
    assert left == sorted(left)
    sets = [grams(text, size) for text in texts]

    def twins(i: int, j: int) -> bool:
        return i != j and jaccard(sets[i], sets[j]) >= threshold - 1e-9

    assert not any(twins(i, j) for i in left for j in left), "both twins stay"
    assert all(any(twins(i, j) for j in left) for i in set(range(len(texts))) - set(left))


@pytest.mark.parametrize("keep", ["first", "longest"])
def test_one_by_one_keeps_the_same(keep: str) -> None:
    rng = random.Random(3)
    base = [" ".join(rng.choices("abcdefghij", k=12)) for _ in range(40)]
    texts = [
        " ".join(w if rng.random() > 0.05 else "x" for w in rng.choice(base).split())
        for _ in range(400)
    ]
    rows, options = table(*[(text, "") for text in texts]), NearDedup(2, 0.6, "both", keep)  # type: ignore[arg-type]
    expected = places(near_dedup(rows, 0, options).rows)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(join, "_MANY", -1)
        assert places(near_dedup(rows, 0, options).rows) == expected
    assert 10 < len(expected) < 300


def test_ends_of_a_chain_stay() -> None:
    """Each is a twin of the next, the first and the last are none of each other."""
    texts = ["a b c d e f g h", "b c d e f g h i", "c d e f g h i j"]
    rows = table(*[(text, "") for text in texts])
    assert places(near_dedup(rows, 0, NearDedup(1, 0.7)).rows) == [1, 3]


def test_numbers_stay_in_the_grams() -> None:
    rows = table(("What is 3 and 4 in all?", "7"), ("What is 5 and 6 in all?", "11"))
    assert places(near_dedup(rows, 0, NearDedup()).rows) == [1, 2]


def test_the_account() -> None:
    text = " ".join(f"w{n}" for n in range(30))
    result = near_dedup(table((text, "end"), ("other", "words"), (text, "and END")), 0, NearDedup())
    assert result.left == {"near-duplicate": 1}
    (example,) = result.examples
    assert (example.place, example.why) == ("mine:3", "0.90 alike with mine:1")


def test_thousands_that_are_alike_take_no_millions_of_comparisons() -> None:
    same = " ".join(f"w{n}" for n in range(40))
    rows = table(*[(f"{same} x{n}", "") for n in range(6000)])
    assert places(near_dedup(rows, 0, NearDedup()).rows) == [1]


def test_short_texts_are_their_own_gram() -> None:
    rows = table(("yes", ""), ("Yes!", ""), ("yes no", ""), ("", ""), ("", ""))
    assert places(near_dedup(rows, 0, NearDedup(by="prompt")).rows) == [1, 3, 4, 5]
    assert shingles([rows.column("prompt")], 3)[1].tolist() == [0, 1, 2, 3, 3, 3]
