"""Scores and fingerprints."""

import pytest
from hypothesis import given
from hypothesis import strategies as st
from rouge_score.rouge_scorer import RougeScorer

from tests.tools.curate.rows import table
from tools.curate.score import fingerprint, rouge_l, score
from tools.errors import UserError
from tools.recipe.operators.declared import Fingerprint, Score

WORDS = st.lists(st.sampled_from("abcd"), max_size=20)


@given(WORDS, WORDS)
def test_rouge_l_is_that_of_the_package(one: list[str], other: list[str]) -> None:
    theirs = RougeScorer(["rougeL"]).score(" ".join(one), " ".join(other))["rougeL"].fmeasure
    assert rouge_l(tuple(one), tuple(other)) == pytest.approx(theirs)


def test_scores_of_rows() -> None:
    rows = table(("q", " the cat sat"), ("q", " no"), base=["the cat", None])
    assert score(rows, 0, Score("length")).rows.column("score").to_pylist() == [3, 1]
    twice = score(score(rows, 0, Score("length")).rows, 0, Score("rouge_l", "base"))
    assert twice.rows.column("score").to_pylist() == [pytest.approx(0.8), 0]
    assert twice.notes == {"mean score": 0.4}
    with pytest.raises(UserError, match=r"score.against: no field 'bsae'; did you mean base"):
        score(rows, 0, Score("rouge_l", "bsae"))


PAIRS = st.lists(st.tuples(st.text("ab", max_size=2), st.text("ab", max_size=2)), max_size=4)


@given(PAIRS, PAIRS)
def test_a_fingerprint_is_of_the_texts_and_their_order(
    one: list[tuple[str, str]], other: list[tuple[str, str]]
) -> None:
    found = [fingerprint(table(*pairs), 0, Fingerprint()).notes["sha256"] for pairs in (one, other)]
    assert (found[0] == found[1]) == (one == other)


def test_other_rows_are_refused() -> None:
    rows = table(("q", " a"))
    known = fingerprint(rows, 0, Fingerprint()).notes["sha256"]
    assert fingerprint(rows, 0, Fingerprint(known[:12])).rows is rows
    with pytest.raises(UserError, match="fingerprint: the rows are others"):
        fingerprint(rows, 0, Fingerprint("00ff"))
