"""Prompts of wanted lengths; a seed gives the same ones, another seed shares nothing with them."""

import itertools
import re

import pytest
from tokenizers import Tokenizer

from benchmarks.prompts import Writer


def shared_head(texts: list[str]) -> str:
    """What all begin with."""
    alike = itertools.takewhile(lambda letters: len(set(letters)) == 1, zip(*texts, strict=False))
    return "".join(letters[0] for letters in alike)


@pytest.mark.parametrize("tokens", [1, 16, 300])
def test_prose_has_exactly_so_many_tokens(tokenizer: Tokenizer, tokens: int) -> None:
    writer = Writer(tokenizer, "seed")
    assert {writer.length(writer.prose(tokens)) for _ in range(5)} == {tokens}


def test_multiple_choice_shares_its_examples(tokenizer: Tokenizer) -> None:
    writer = Writer(tokenizer, "seed")
    prompts = writer.multiple_choice(20, 2000, (200, 260))
    shared = shared_head(prompts)
    assert 1700 < writer.length(shared) <= 2000
    assert len(re.findall(r"\nA\. .*\nB\. .*\nC\. .*\nD\. .*\nAnswer: [A-D]\n\n", shared)) == 5
    assert all(prompt.endswith("\nAnswer:") for prompt in prompts)
    assert len(set(prompts)) == 20


def test_questions_have_about_the_wanted_lengths(tokenizer: Tokenizer) -> None:
    writer = Writer(tokenizer, "seed")
    prompts = writer.multiple_choice(40, 1000, (200, 300))
    shared = prompts[0].rindex("Question:")
    lengths = [writer.length(prompt[shared:]) for prompt in prompts]
    assert min(lengths) > 120 and max(lengths) <= 310


def test_sums_are_right(tokenizer: Tokenizer) -> None:
    prompt = Writer(tokenizer, "seed").sums(1, 8)[0]
    workings = re.findall(
        r"(\d+) \+ (\d+) = (\d+) .*?(\d+) \* (\d+) = (\d+) .*?That leaves (\d+) - (\d+) = (\d+) .*?"
        r"(\d+) \* (\d+) = (\d+) dollars\. The answer is (\d+)\.\n\n",
        prompt,
    )
    assert len(workings) == 8 and prompt.endswith("?\nAnswer:")
    for a, b, c, d, e, f, g, h, i, j, k, m, answer in (map(int, found) for found in workings):
        assert a + b == c == g and d * e == f == h and g - h == i == j and j * k == m == answer


def test_seed_decides(tokenizer: Tokenizer) -> None:
    first, again, other = (
        Writer(tokenizer, seed).multiple_choice(3, 600, (60, 90)) for seed in ("a", "a", "b")
    )
    assert first == again
    head = "The following are multiple choice questions (with answers) about "
    assert len(shared_head([first[0], other[0]])) < len(head) + 60
