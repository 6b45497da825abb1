"""Makers: the same seed gives the same question, and the answer follows from the text alone."""

import random
import re
from collections.abc import Callable

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tools.data.skills import SKILLS, Question

seeds = st.integers(0, 2**32)


def solve_boxes(text: str, _: tuple[str, ...]) -> str:
    held = dict(re.findall(r"The (\w+) box holds a (\w+)\.", text))
    assert len(held) == 4 == len(set(held.values()))
    asked = re.search(r"What does the (\w+) box hold\?$", text)
    assert asked
    return held[asked[1]]


def solve_counting(text: str, _: tuple[str, ...]) -> str:
    found = re.fullmatch(
        r"(\w+) has (\d+) (\w+) and (finds|gives away) (\d+)\. How many \3 does \1 have now\?", text
    )
    assert found
    have, change = int(found[2]), int(found[5])
    left = have + change if found[4] == "finds" else have - change
    assert left > 0
    return f"{left}."


def solve_places(text: str, choices: tuple[str, ...]) -> str:
    place = dict(re.findall(r"The (\w+) is (in box [A-D])\.", text))
    asked = re.search(r"Where is the (\w+)\?$", text)
    assert asked and len(place) == 4 == len(set(place.values()))
    (right,) = [choice for choice in choices if choice.lower() == place[asked[1]].lower()]
    return right


def solve_syllogism(text: str, _: tuple[str, ...]) -> str:
    gets = dict(re.findall(r"Whoever has a (\w+) gets a (\w+)\.", text))
    wears = dict(re.findall(r"Whoever has a (\w+) wears (\w+)\.", text))
    asked = re.search(r"\. (\w+) has a (\w+)\. What colour does \1 wear\?$", text)
    assert asked and len(gets) == 1 and len(wears) == 2
    assert asked[2] not in wears  # two steps, and only one way
    return wears[gets[asked[2]]]


SOLVERS: dict[str, Callable[[str, tuple[str, ...]], str]] = {
    "boxes": solve_boxes,
    "counting": solve_counting,
    "places": solve_places,
    "syllogism": solve_syllogism,
}


def test_every_maker_is_solved_here() -> None:
    assert SOLVERS.keys() == SKILLS.keys()


@pytest.mark.parametrize("name", SKILLS)
@given(seed=seeds)
def test_the_answer_is_right(name: str, seed: int) -> None:
    question = SKILLS[name](random.Random(seed))
    assert question.output == SOLVERS[name](question.input, question.choices)
    assert question == SKILLS[name](random.Random(seed))


@pytest.mark.parametrize("name", SKILLS)
@given(seed=seeds)
def test_the_form_is_what_helm_can_ask(name: str, seed: int) -> None:
    question = SKILLS[name](random.Random(seed))
    assert "\n" not in question.input + question.output  # HELM stops at one
    if question.format == "letter":
        assert len(set(question.choices)) == len(question.choices)
        assert question.output in question.choices
    else:
        assert question.choices == ()


@pytest.mark.parametrize("name", SKILLS)
def test_answers_cannot_be_guessed(name: str) -> None:
    """No answer, and no letter, is right in much more than half of the questions."""
    made = [SKILLS[name](random.Random(seed)) for seed in range(300)]
    answers = [_position(question) for question in made]
    assert max(answers.count(answer) for answer in set(answers)) <= 165


def _position(question: Question) -> str:
    shown = question.format == "letter"
    return str(question.choices.index(question.output)) if shown else question.output
