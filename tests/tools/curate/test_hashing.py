"""Hashes of words: the same words have the same, whatever batch, bytes or neighbours they have."""

from collections.abc import Sequence

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tools.curate import hashing
from tools.curate.hashing import SIGNED, WORDS, Rule, grams, hashes, keys, signed, whole

SOME = st.text(st.sampled_from("abAB01 .,;!?'\"-_()\n\t\u00a0äßЖ中“”…\x1c\x00"), max_size=40)
ANY = st.one_of(SOME, st.text(st.characters(codec="utf-8"), max_size=30))


def column(texts: Sequence[str]) -> pa.ChunkedArray:
    return pa.chunked_array([pa.array(list(texts), pa.string())])


def words(texts: Sequence[str], rule: Rule) -> list[list[int]]:
    found = hashes([column(texts)], rule)
    return [found.words[a:b].tolist() for a, b in zip(found.ends, found.ends[1:], strict=False)]


def flat(found: list[list[int]]) -> list[int]:
    return [number for one in found for number in one]


@pytest.mark.parametrize("rule", [WORDS, SIGNED])
@given(texts=st.lists(ANY, max_size=6))
def test_the_words_are_those_of_the_rule(rule: Rule, texts: list[str]) -> None:
    plain = [rule.plain(text).split(" ") if rule.plain(text) else [] for text in texts]
    found = words(texts, rule)
    assert [len(one) for one in found] == [len(one) for one in plain]
    known: dict[str, int] = {}
    for text, numbers in zip(plain, found, strict=True):
        for word, number in zip(text, numbers, strict=True):
            assert known.setdefault(word, number) == number
    assert len(set(known.values())) == len(known)


@given(texts=st.lists(SOME, max_size=8), size=st.integers(1, 60))
def test_batches_change_nothing(texts: list[str], size: int) -> None:
    expected = words(texts, WORDS)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(hashing, "_BYTES", size)
        patch.setattr(hashing, "_ROWS", 3)
        patch.setattr(hashing, "_POWERS", [])
        assert words(texts, WORDS) == expected


def test_a_column_may_be_a_slice_of_one_of_chunks() -> None:
    texts = ["zero", "one two", "", "three", "four five"]
    chunks = pa.chunked_array([texts[:2], texts[2:]], pa.string()).slice(1, 3)
    found = hashes([chunks])
    assert found.counts.tolist() == [2, 0, 1]
    assert found.words.tolist() == flat(words(texts, WORDS)[1:4])


def test_columns_are_lines_of_one_text() -> None:
    both = hashes([column(["a b", ""]), column(["c", "d"])])
    assert both.words.tolist() == flat(words(["a b c", "d"], WORDS))
    assert both.counts.tolist() == [3, 1]


@given(
    texts=st.lists(st.lists(st.sampled_from("abc"), max_size=9), max_size=5), size=st.integers(1, 4)
)
def test_grams_never_go_from_text_to_text(texts: list[list[str]], size: int) -> None:
    found = hashes([column([" ".join(text) for text in texts])])
    made, at = grams(found, size)
    expected = [tuple(t[i : i + size]) for t in texts for i in range(len(t) - size + 1)]
    assert len(made) == len(expected) == len(at)
    assert len(dict(zip(expected, made.tolist(), strict=True))) == len(set(made.tolist()))


@pytest.mark.parametrize("rule", [WORDS, SIGNED])
@given(texts=st.lists(SOME, max_size=8), size=st.integers(1, 60))
def test_whole_texts(rule: Rule, texts: list[str], size: int) -> None:
    plain = [rule.plain(text) for text in texts]
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(hashing, "_BYTES", size)
        patch.setattr(hashing, "_ROWS", 3)
        patch.setattr(hashing, "_POWERS", [])
        ways = [whole(hashes([column(texts)], rule)), keys([column(texts)], rule)]
    for found in (way.tolist() for way in ways):
        assert all(
            (a == b) == (plain[i] == plain[j])
            for i, a in enumerate(found)
            for j, b in enumerate(found)
        )
        assert all((key == 0) == (text == "") for key, text in zip(found, plain, strict=True))


def test_a_long_text() -> None:
    long = "x" * (hashing._BYTES + 100) + " y"
    found = words([long, "y", long], WORDS)
    assert found[0] == found[2] and found[0][1:] == found[1]


def test_order_matters_and_signs_do_where_they_say_something() -> None:
    assert signed("Hello,  World!") == signed("hello world .") == "hello world"
    assert len({signed(text) for text in ("3 + 4", "3 * 4", "3+4", "-3", "3", "f(x)", "fx")}) == 7
    assert np.unique(whole(hashes([column(["a b", "b a", "a  B!"])], SIGNED))).size == 2
