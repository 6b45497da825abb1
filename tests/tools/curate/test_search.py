"""The search in batches finds what ``Overlap`` finds, and in every row."""

import random

import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tools.curate import hashing, search
from tools.curate.overlap import COMMON, GRAM, Overlap, words
from tools.curate.search import Match, Search

FEW = st.lists(st.sampled_from(["a", "b", "c", "d"]), max_size=22)
SIGN = st.sampled_from(["", "", "", ".", "?", ","])
TEXT = st.lists(st.tuples(st.sampled_from("abcde"), SIGN), max_size=24).map(
    lambda found: " ".join(word + sign for word, sign in found)
)
ROW = st.lists(TEXT, min_size=1, max_size=3).map("\n".join)


def matches(questions: list[str], rows: list[str]) -> list[Match]:
    made = Search(questions)
    made.scan([pa.chunked_array([pa.array(rows, pa.string())])])
    return made.matches()


def by_overlap(questions: list[str], rows: list[str]) -> dict[str, float]:
    """The share of each question that is found, by its text."""
    overlap = Overlap(questions)
    for number, row in enumerate(rows):
        overlap.scan(number, row)
    found = {text: overlap.finding(text) for text in questions}
    return {text: one.share for text, one in found.items() if one}


def best(questions: list[str], rows: list[str]) -> dict[str, float]:
    """The same by the search."""
    shares: dict[str, float] = {}
    for one in matches(questions, rows):
        text = questions[one.question]
        shares[text] = max(one.share, shares.get(text, 0.0))
    return shares


@settings(max_examples=150)
@given(st.lists(TEXT, max_size=6, unique_by=words), st.lists(ROW, max_size=6))
def test_questions_are_found_as_by_their_words(questions: list[str], rows: list[str]) -> None:
    expected = by_overlap(questions, rows)
    assert best(questions, rows) == pytest.approx(expected)


@pytest.mark.parametrize("seed", range(5))
def test_the_same_with_long_texts_and_small_batches(
    seed: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(search, "_ROWS", 7)
    monkeypatch.setattr(hashing, "_ROWS", 7)
    monkeypatch.setattr(hashing, "_BYTES", 300)
    rng = random.Random(seed)
    template = [f"t{n}" for n in range(30)]
    pieces = [[rng.choice("abcdefgh") * 2 for _ in range(rng.randint(3, 40))] for _ in range(40)]
    texts = [(template if rng.random() < 0.4 else []) + piece for piece in pieces]
    questions = [" ".join(text) for text in texts]
    rows = []
    for _ in range(60):
        text = list(rng.choice(texts))
        for _ in range(rng.randint(0, 2)):
            text[rng.randrange(len(text))] = "zz"
        start = rng.randint(0, 5) if rng.random() < 0.5 else 0
        rows.append(" ".join(["so", *text[start:], "and on"] if rng.random() < 0.5 else text))
    expected = by_overlap(questions, rows)
    assert best(questions, rows) == pytest.approx(expected)
    assert len(expected) > 10 and min(expected.values()) < 1


def test_every_row_that_holds_a_question_is_told() -> None:
    question = " ".join(f"w{n}" for n in range(20))
    rows = [f"x {question}", "other", question.upper(), "W0 w1 w2"]
    assert matches([question], rows) == [Match(0, 0, 1.0), Match(2, 0, 1.0)]


def test_a_part_is_told_from_the_whole() -> None:
    question = " ".join(f"w{n}" for n in range(40))
    half, most = (" ".join(question.split()[:count]) for count in (20, 34))
    (first, second) = matches([question], [half, most])
    assert (first.share, first.contaminated) == (0.5, False)
    assert (second.share, second.contaminated) == (0.85, True)


@pytest.mark.parametrize(("count", "seen"), [(COMMON, True), (COMMON + 1, False)])
def test_boilerplate_counts_neither_way(count: int, seen: bool) -> None:
    start = " ".join(f"i{n}" for n in range(20))
    questions = [f"{start} q{n} r{n}" for n in range(count)]
    assert bool(matches(questions, [f"{start} quite another task"])) == seen
    assert bool(matches(questions[:1], [f"{start} another {n}" for n in range(count)])) == seen
    whole = [one for one in matches(questions, [questions[3]]) if one.share == 1]
    assert [one.question for one in whole] == [3]


def test_short_questions_must_be_a_line() -> None:
    assert matches(["What is it?"], ["Question: what is IT\nAnswer: a"]) == [Match(0, 0, 1.0)]
    assert matches(["What is it?"], ["Tell me what is it that you see?"]) == []
    assert matches(["3 + 4?"], ["Question: 3 * 4\n 12", "Q: 3 + 4 A: 7"]) == [Match(1, 0, 1.0)]


def test_a_question_of_signs_alone() -> None:
    assert matches(["( [ {"], ["Input: ( [ (", "Input: ( [ {\n } ] )"]) == [Match(1, 0, 1.0)]


def test_nothing_to_find_or_to_look_through() -> None:
    assert matches([], ["a b c"]) == matches(["a b c"], []) == matches(["", "..."], ["", "a"]) == []
    made = Search(["x"])
    assert made.matches() == []


def test_rows_are_numbered_on() -> None:
    made = Search([" ".join(f"w{n}" for n in range(GRAM))])
    for text in ("none", " ".join(f"W{n}" for n in range(GRAM))):
        made.scan([pa.chunked_array([[text]])])
    assert made.matches() == [Match(1, 0, 1.0)]
