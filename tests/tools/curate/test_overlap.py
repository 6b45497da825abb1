"""Overlap: copies are always found, other texts never, templates are told from questions."""

import random
from collections.abc import Sequence

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tools.curate.overlap import COMMON, GRAM, SHORT, Finding, Overlap, _Grams, line, words

WORD = st.text("abcdefghijklm", min_size=1, max_size=7)
OTHER = st.text("nopqrstuvwxyzäß", min_size=1, max_size=7)
SIGNS = st.sampled_from(["", "", "", ",", ".", "!", "?", ";", " -", "“", "…"])
SPACES = st.sampled_from([" ", " ", "  ", "\n", "\t", "\u00a0"])
CLOSING = st.sampled_from(["", ".", "?", " ?", "!"])


def found(question: str, *rows: str) -> Finding | None:
    overlap = Overlap([question])
    for number, row in enumerate(rows):
        overlap.scan(number, row)
    return overlap.finding(question)


def numbered(count: int, word: str = "w") -> str:
    return " ".join(f"{word}{number}" for number in range(count))


def cased(data: st.DataObject, word: str) -> str:
    return data.draw(st.sampled_from([str.lower, str.upper, str.title]))(word)


@given(
    question=st.lists(WORD, min_size=SHORT, max_size=60),
    before=st.lists(OTHER, max_size=30),
    after=st.lists(OTHER, max_size=30),
    data=st.data(),
)
def test_a_copy_is_found_whatever_its_case_punctuation_and_spaces(
    question: list[str], before: list[str], after: list[str], data: st.DataObject
) -> None:
    copy = "".join(cased(data, word) + data.draw(SIGNS) + data.draw(SPACES) for word in question)
    row = " ".join([*before, copy, *after])
    assert found(" ".join(question), "other", row) == Finding(1, 1.0, "the whole question")


@given(
    question=st.lists(WORD, min_size=1, max_size=SHORT - 1),
    label=st.sampled_from(["", "Question: ", "Q: ", "INPUT:\n"]),
    end=st.sampled_from(["", "\n", "\nAnswer: n", " A: n"]),
    data=st.data(),
)
def test_a_copy_of_a_short_question_is_found_on_a_line_of_its_own(
    question: list[str], label: str, end: str, data: st.DataObject
) -> None:
    spaces = st.sampled_from([" ", "  ", "\t"])
    copy = "".join(data.draw(spaces) + cased(data, word) for word in question)
    row = f"zzz: zz\n\n{label}{copy}{data.draw(CLOSING)}{end}"
    hit = found(" ".join(question) + data.draw(CLOSING), row)
    assert hit and hit.contaminated


@given(st.lists(WORD, min_size=1, max_size=40), st.lists(OTHER, min_size=1, max_size=80))
def test_other_words_are_never_found(question: list[str], row: list[str]) -> None:
    assert found(" ".join(question), " ".join(row), "\n".join(row)) is None


FEW = st.lists(st.sampled_from("abc"), max_size=60).map(tuple)


@settings(max_examples=300)
@given(questions=st.lists(FEW, max_size=4), row=FEW, size=st.integers(2, 14))
def test_grams_are_found_as_by_looking_everywhere(
    questions: Sequence[tuple[str, ...]], row: tuple[str, ...], size: int
) -> None:
    def windows(text: tuple[str, ...]) -> list[tuple[int, tuple[str, ...]]]:
        return [(at, text[at : at + size]) for at in range(len(text) - size + 1)]

    grams = _Grams(size)
    for question in questions:
        grams.add(question)
    known = {gram for question in questions for _, gram in windows(question)}
    assert list(grams.find(row)) == [pair for pair in windows(row) if pair[1] in known]


def test_a_part_is_told_from_the_whole() -> None:
    question = numbered(40)
    half = found(question, "x " + numbered(20))
    assert half == Finding(0, 0.5, f"50% of its words, as: {numbered(GRAM)}")
    assert not half.contaminated
    most = found(question, numbered(16), numbered(32) + " x", numbered(20))
    assert most and (most.row, most.share, most.contaminated) == (1, 0.8, True)


def test_twelve_words_in_common_are_nothing() -> None:
    assert found(numbered(40), numbered(12)) is None


def test_two_parts_of_one_row_count_together_those_of_two_rows_do_not() -> None:
    first, second = numbered(20), " ".join(f"w{n}" for n in range(20, 40))
    one = found(f"{first} {second}", f"{second} and {first}")
    two = found(f"{first} {second}", first, second)
    assert one and (one.share, one.contaminated) == (1.0, True)
    assert two and (two.row, two.share, two.contaminated) == (0, 0.5, False)


@pytest.mark.parametrize("count", [8, 9, 12])
def test_of_a_shorter_question_a_part_is_nothing(count: int) -> None:
    assert found(numbered(count), numbered(count - 1) + " x") is None
    assert found(numbered(count), "x " + numbered(count)) is not None


def test_a_question_of_few_words_inside_a_sentence_is_nothing() -> None:
    assert found("What is it?", "Question: Tell me what is it that you see?\nAnswer: a") is None
    assert found("What is it?", "Question: What is it?\nAnswer: a") is not None
    assert found("What is it?", "Q: What is it? A: a cat") is not None


def test_a_sign_may_be_all_that_differs_between_short_questions() -> None:
    assert found("3 + 4?", "Question: 3 * 4\nAnswer: 12") is None
    assert found("( [ {", "Input: ( [ (\nOutput: ) ] )") is None
    assert found("( [ {", "Input: ( [ {\nOutput: } ] )") is not None


def test_a_short_question_of_several_lines() -> None:
    assert found("one\ntwo", "Question: one\n\ntwo\nAnswer: a") is not None
    assert found("one\ntwo", "Question: one\nnot two\nAnswer: a") is None


def test_nothing_is_found_for_an_empty_question() -> None:
    assert found("", "a\n\nb", "") is None
    assert found("...", "a\n...\nb") is None


def overlap_of(questions: list[str], rows: list[str]) -> Overlap:
    made = Overlap(questions)
    for number, row in enumerate(rows):
        made.scan(number, row)
    return made


@pytest.mark.parametrize(("count", "seen"), [(COMMON, True), (COMMON + 1, False)])
def test_what_many_questions_begin_with_is_a_template(count: int, seen: bool) -> None:
    questions = [f"{numbered(20, 'instruction')} {numbered(5, f'q{n}x')}" for n in range(count)]
    overlap = overlap_of(questions, [f"{numbered(20, 'instruction')} quite another task"])
    assert all((overlap.finding(question) is not None) == seen for question in questions)
    overlap.scan(1, f"Question: {questions[3]}")
    assert overlap.finding(questions[3]) == Finding(1, 1.0, "the whole question")


@pytest.mark.parametrize(("count", "seen"), [(COMMON, True), (COMMON + 1, False)])
def test_what_many_rows_begin_with_is_a_template(count: int, seen: bool) -> None:
    question = f"{numbered(20, 'instruction')} {numbered(5, 'q')}"
    rows = [f"{numbered(20, 'instruction')} another task {n}" for n in range(count)]
    overlap = overlap_of([question], rows)
    assert (overlap.finding(question) is not None) == seen
    overlap.scan(count, question.upper())
    assert overlap.finding(question) == Finding(count, 1.0, "the whole question")


def test_a_template_does_not_count_towards_the_share() -> None:
    """What is the question's own, 20 words, is in a row; that it is half of the text is no help."""
    own = numbered(20, "own")
    questions = [f"{numbered(40, 'template')} {own}"]
    questions += [f"{numbered(40, 'template')} {numbered(9, f'q{n}x')}" for n in range(COMMON)]
    hit = overlap_of(questions, [f"{numbered(3, 'x')} {own}"]).finding(questions[0])
    assert hit and hit.contaminated is False and hit.share == pytest.approx(20 / 32)
    # (the grams that reach 12 words back into the template are this question's alone, too)


def test_a_question_asked_often_is_no_template() -> None:
    overlap = overlap_of([numbered(30)] * (COMMON + 5), [numbered(25)])
    hit = overlap.finding(numbered(30))
    assert hit and hit.contaminated


def test_a_row_that_holds_a_gram_often_is_one_row() -> None:
    hit = found(numbered(16), " and ".join([numbered(14)] * (COMMON + 5)))
    assert hit and hit.share == 14 / 16


def test_words_and_lines() -> None:
    assert words("The “Well-known”\tanswer: don't _say_ it, 12,000!") == tuple(
        "the wellknown answer dont say it 12000".split()
    )
    assert words("ＦＵＬＬ cafe\u0301") == ("full", "café")
    assert line(" What  is\n3 + 4 ?!") == "what is 3 + 4"


def test_many_questions_are_told_apart() -> None:
    """Every question of a generated set is found in its row, and in no other."""
    rng = random.Random(1)
    made = {" ".join(rng.choice("abcdefgh") * 3 for _ in range(20)) for _ in range(200)}
    questions = sorted(made)
    overlap = overlap_of(questions, [f"So: {question}!" for question in questions[:100]])
    hits = [overlap.finding(question) for question in questions]
    assert [hit.row for hit in hits if hit] == list(range(100)) and not any(hits[100:])
