"""Scores and fingerprints."""

from collections.abc import Sequence

import pytest
from hypothesis import given
from hypothesis import strategies as st
from rouge_score.rouge_scorer import RougeScorer

from tests.tools.curate.rows import table
from tools.curate.score import fingerprint, match, rouge_l, score
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


@pytest.mark.parametrize(
    ("wanted", "answer", "right"),
    [
        (" B", " B", 1),
        (" B", "The answer is (B).", 1),
        (" B", " A", 0),
        (" B", "Because", 0),
        (" 1,200", "It is 1200.", 1),
        (" 12", " 12 or 13", 0),
        (" 12", " twelve", 0),
        (" Paris", "paris.", 1),
        (" Paris", " Paris is the capital", 0),
        (" the cat sat on the mat and slept all day", " the cat", pytest.approx(4 / 12)),
    ],
)
def test_how_right_an_answer_is(wanted: str, answer: str, right: float) -> None:
    assert match(wanted, answer) == right


def test_scores_by_the_base_models_answers() -> None:
    rows = table(("q", " B"), ("r", " 4"))
    asked = []

    def answers(prompts: Sequence[str], completions: Sequence[str]) -> list[str]:
        asked.append((list(prompts), list(completions)))
        return [" B", " 5"]

    found = score(rows, 0, Score("base"), answers)
    assert found.rows.column("score").to_pylist() == [1, 0]
    assert asked == [(["q", "r"], [" B", " 4"])]
    with pytest.raises(UserError, match="no base model answers here"):
        score(rows, 0, Score("base"))


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
