"""Sums: the tale is followed sentence by sentence, and every equation is computed."""

import random
import re
from fractions import Fraction

from tools.data.makers import sums


def solve(text: str, _: tuple[str, ...] = ()) -> str:
    """The whole answer: equations that hold, each going on from the one before."""
    sentences = re.findall(r"[^.?]+[.?]", text)
    start = re.fullmatch(r"(\w+) has (\d+) (\w+)\.", sentences[0])
    assert start
    steps, have = [], Fraction(start[2])
    for sentence in sentences[1:]:
        if step := _equation(sentence.strip(), have):
            left, have = step
            steps.append(f"{left} = {have}.")
    assert have.denominator == 1 and 0 < have < 100
    return f"{' '.join(steps)} The answer is {have}."


def _equation(said: str, have: Fraction) -> tuple[str, Fraction] | None:
    number = [int(one) for one in re.findall(r"\d+", said)]
    if " buys " in said or re.search(r" has \d+ more than ", said):
        return f"{have} + {number[0]}", have + number[0]
    if " gives " in said:
        return f"{have} - {number[0]}", have - number[0]
    if " loses half " in said:
        return f"{have} / 2", have / 2
    if " times as many" in said or " dollars each" in said:
        return f"{have} * {number[0]}", have * number[0]
    if " bags of " in said:
        return f"{have} + {number[0]} * {number[1]}", have + number[0] * number[1]
    if " boxes, equally many" in said:
        return f"{have} / {number[0]}", have / number[0]
    assert said.startswith("How many ") and said.endswith("?")
    return None


def test_the_answer_fits_into_what_helm_lets_a_model_write() -> None:
    """By the dearest tokenizer: a token a digit and a sign, one more for each blank and number."""
    for seed in range(3000):
        answer = sums.make(random.Random(seed), 4).output
        numbers, rest = re.findall(r"\d+", answer), re.findall(r"[^\s\d]+", answer)
        cost = sum(map(len, numbers)) + len(numbers) + len(rest)
        assert cost <= 60, answer


def test_a_level_is_the_number_of_equations() -> None:
    for seed in range(200):
        level = 1 + seed % 4
        made = sums.make(random.Random(seed), level)
        assert made.output.count(" = ") == level
        assert len(re.findall(r"\?", made.input)) == 1
