"""Makers: the same seed gives the same question, and the answer follows from the text alone."""

import hashlib
import random
import re
from collections.abc import Callable

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.tools.data.makers import (
    test_causes,
    test_chat,
    test_deduction,
    test_instructions,
    test_ordering,
    test_sets,
    test_sums,
)  # fmt: skip
from tools.data.render import pair
from tools.data.skills import GRADED, SKILLS, Question, fault, maker

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
    "deduction": test_deduction.solve,
    "ordering": test_ordering.solve,
    "sets": test_sets.solve,
    "causes": test_causes.solve,
    "sums": test_sums.solve,
    "instructions": test_instructions.solve,
    "chat": test_chat.solve,
}

#: SHA-256 of prompts and completions, a line each: runs that were made can be made again.
FIRST_THOUSAND = {
    "boxes": "35751aa9f71e1daf152daae3ba0dabb6230501be95598321c69118447c53ba41",
    "counting": "71bf41a6ec0d6782e0b36fad84aa3665a6ac79318516e6ca9a1160678bf7886c",
    "places": "dca0ee2bf737980c153f2b03254adfbc90c70c8942b909e9c641a9841f3178eb",
    "syllogism": "8b864f954dbbcb59839c87d1cd6b7a7390e710b1b8b3ce2501a04fae7e75be91",
}


@pytest.mark.parametrize("name", FIRST_THOUSAND)
def test_the_first_four_never_change(name: str) -> None:
    rng, found = random.Random(f"17/{name}"), hashlib.sha256()
    for _ in range(1000):
        made = pair(name, SKILLS[name](rng))
        found.update(f"{made.prompt}{made.completion}\n".encode())
    assert found.hexdigest() == FIRST_THOUSAND[name]


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


LEVELS = [
    (name, level) for name, graded in GRADED.items() for level in range(1, graded.hardest + 1)
]


@pytest.mark.parametrize(("name", "level"), LEVELS)
def test_two_thousand_of_each_level_are_solved(name: str, level: int) -> None:
    rng, make = random.Random(level), maker(f"{name}:{level}")
    made = [make(rng) for _ in range(2000)]
    assert all(one.difficulty == level for one in made)
    wrong = [one for one in made if one.output != SOLVERS[name](one.input, one.choices)]
    assert wrong == []
    # Without end: of what is made, hardly any comes twice.
    assert len({one.input for one in made}) > 1700


@pytest.mark.parametrize("name", GRADED)
def test_harder_questions_are_longer(name: str) -> None:
    low, high = maker(f"{name}:1"), maker(f"{name}:{GRADED[name].hardest}")
    words = [
        sum(len(make(random.Random(n)).input.split()) for n in range(50)) for make in (low, high)
    ]
    assert words[1] > 1.2 * words[0]


def test_a_range_of_levels() -> None:
    made = [maker("ordering:2-4")(random.Random(seed)) for seed in range(300)]
    counts = [sum(one.difficulty == level for one in made) for level in (2, 3, 4)]
    assert sum(counts) == 300 and min(counts) > 60
    every = {maker("ordering")(random.Random(seed)).difficulty for seed in range(300)}
    assert every == {1, 2, 3, 4, 5}
    assert SKILLS["boxes"](random.Random(0)).difficulty == 0


@pytest.mark.parametrize(
    ("path", "told"),
    [
        ("ordering:4-2", "'ordering:4-2': ordering has levels 1 to 5; write ordering:1-5, or one"),
        ("ordering:0", "ordering has levels 1 to 5"),
        ("ordering:1-6", "ordering has levels 1 to 5"),
        ("ordering:", "ordering has levels 1 to 5"),
        ("ordering:x", "ordering has levels 1 to 5"),
        ("ordering:\u0662", "ordering has levels 1 to 5"),
        ("boxes:1", "'boxes:1': boxes has no levels; write boxes"),
        ("ordring:1-2", "no maker 'ordring:1-2'; did you mean ordering?; there are boxes,"),
        ("", "no maker ''; there are boxes,"),
    ],
)
def test_a_faulty_path(path: str, told: str) -> None:
    assert told in fault(path)


@pytest.mark.parametrize("path", ["boxes", "ordering", "ordering:5", "ordering:1-5", "chat:2-2"])
def test_a_right_path(path: str) -> None:
    assert fault(path) == "" and maker(path)(random.Random(0)).input
