"""Prompts that leave no room for their completion."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from serve.overflow import ContextOverflow, fit
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
