"""Prompts that leave no room for their completion."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from serve.overflow import ContextOverflow, Fitted, fit, fit_examples
from serve.text import PromptTokens

PROMPT = PromptTokens((1, *range(100, 120)), lead=1)  # BOS and 20 tokens


@pytest.mark.parametrize(("new", "context"), [(0, 21), (11, 32)])
def test_what_fits_is_left_alone(new: int, context: int) -> None:
    for overflow in ("truncate_left", "error"):
        fitted = fit(PROMPT, new, context, overflow)
        assert (fitted.prompt, fitted.max_new_tokens, fitted.dropped) == (PROMPT, new, 0)


def test_truncate_left_keeps_bos_and_the_tail() -> None:
    fitted = fit(PROMPT, 4, 16, "truncate_left")
    assert fitted.prompt.ids == (1, *range(109, 120))
    assert (fitted.prompt.lead, fitted.max_new_tokens, fitted.dropped) == (1, 4, 9)


def test_scoring_may_use_the_whole_context() -> None:
    assert len(fit(PROMPT, 0, 16, "truncate_left").prompt.ids) == 16


def test_a_long_completion_takes_at_most_half_of_the_context_from_the_prompt() -> None:
    fitted = fit(PROMPT, 1000, 30, "truncate_left")
    assert (len(fitted.prompt.ids), fitted.max_new_tokens, fitted.dropped) == (15, 15, 6)
    roomy = fit(PROMPT, 1000, 100, "truncate_left")
    assert (roomy.prompt, roomy.max_new_tokens, roomy.dropped) == (PROMPT, 79, 0)


def test_texts_are_cut_with_their_ids() -> None:
    texts = tuple(map(str, PROMPT.ids[1:]))
    fitted = fit(PromptTokens(PROMPT.ids, 1, 0, texts), 4, 16, "truncate_left")
    assert fitted.prompt.texts == texts[9:]
    written = fit(PromptTokens(PROMPT.ids, 0, 1, ("<s>", *texts)), 4, 16, "truncate_left")
    assert written.prompt.texts == ("<s>", *texts[9:])


def words(text: str) -> PromptTokens:
    """A tokenizer of words, BOS in front."""
    return PromptTokens((1, *range(2, 2 + len(text.split()))), 1, 0, tuple(text.split()))


def shown(prompt: str, new: int, context: int) -> tuple[str, Fitted]:
    fitted = fit_examples(prompt, words, new, context, "truncate_left")
    assert len(fitted.prompt.ids) + fitted.max_new_tokens <= context
    assert len(fitted.prompt.ids) + fitted.dropped == len(words(prompt).ids)
    return " ".join(fitted.prompt.texts), fitted


SHOTS = "Be brief.\n\n" + "\n\n".join(f"Q: {n} a b\nA: {n}" for n in range(4)) + "\n\nQ: x y\nA:"


@pytest.mark.parametrize(
    ("context", "kept", "dropped"),
    [(32, 4, 0), (31, 3, 6), (26, 3, 6), (25, 2, 12), (14, 1, 18), (13, 0, 24), (8, 0, 24)],
)
def test_whole_examples_go_first_and_the_instruction_stays(
    context: int, kept: int, dropped: int
) -> None:
    text, fitted = shown(SHOTS, 1, context)
    left = [f"Q: {n} a b A: {n}" for n in range(4 - kept, 4)]
    assert text == " ".join(["Be brief.", *left, "Q: x y A:"])
    assert (fitted.dropped, fitted.max_new_tokens) == (dropped, 1)


def test_a_question_that_is_too_long_loses_its_head() -> None:
    assert shown(SHOTS, 1, 6)[0] == "Q: x y A:"
    assert shown(SHOTS, 1, 4)[0] == "y A:"


def test_an_answer_may_take_half_of_the_room_from_the_examples() -> None:
    text, fitted = shown(SHOTS, 100, 28)
    assert text == "Be brief. Q: 3 a b A: 3 Q: x y A:"
    assert fitted.max_new_tokens == 28 - len(fitted.prompt.ids)


def test_blocks_that_do_not_begin_alike() -> None:
    """They are left out while half of the room is used; else a long text loses its head."""
    assert shown("a b c\n\nd e f\n\ng h", 1, 8)[0] == "d e f g h"
    story = "a b c d e f g h i\n\nWhy?"
    assert shown(story, 1, 8)[0] == "e f g h i Why?"


def test_what_fits_is_not_parted() -> None:
    assert shown(SHOTS, 1, 100)[0] == " ".join(SHOTS.split())


def test_error_is_told_of_the_whole_prompt() -> None:
    with pytest.raises(ContextOverflow, match="prompt has 31 tokens"):
        fit_examples(SHOTS, words, 1, 10, "error")


@given(
    parts=st.lists(st.sampled_from(["Q: a", "b", "\n", "\n\n", "###\n", " c d"]), max_size=12),
    new=st.integers(0, 20),
    context=st.integers(2, 20),
)
@settings(deadline=None)
def test_any_prompt_fits(parts: list[str], new: int, context: int) -> None:
    text, fitted = shown("".join(parts), new, context)
    assert "".join(parts).split()[-1:] == text.split()[-1:] or not text
    assert min(new, 1) <= fitted.max_new_tokens <= new


def test_error_says_the_figures() -> None:
    with pytest.raises(ContextOverflow, match=r"21 tokens.*is 4.*25.*holds 16.*by 9 tokens"):
        fit(PROMPT, 4, 16, "error")


def test_a_bos_that_the_prompt_wrote_stays_too() -> None:
    fitted = fit(PromptTokens(PROMPT.ids, lead=0, written=1), 4, 16, "truncate_left")
    assert fitted.prompt == PromptTokens((1, *range(109, 120)), lead=0, written=1)


@given(
    length=st.integers(0, 60),
    lead=st.integers(0, 1),
    new=st.integers(0, 80),
    context=st.integers(2, 40),
)
def test_what_comes_out_fits_and_is_the_tail(
    length: int, lead: int, new: int, context: int
) -> None:
    prompt = PromptTokens((*[-1] * lead, *range(length)), lead)
    fitted = fit(prompt, new, context, "truncate_left")
    kept = fitted.prompt.ids[lead:]
    assert len(fitted.prompt.ids) + fitted.max_new_tokens <= context
    assert fitted.prompt.ids[:lead] == prompt.ids[:lead]
    assert kept == prompt.ids[len(prompt.ids) - len(kept) :]
    assert fitted.dropped == length - len(kept)
    assert min(new, 1) <= fitted.max_new_tokens <= new
