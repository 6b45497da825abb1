"""Ordering: the clues allow one order only, found by counting who stands below whom."""

import random
import re

from tools.data.makers import ordering

ENDS = {
    "oldest": ("older", True), "youngest": ("older", False),
    "tallest": ("taller", True), "shortest": ("taller", False),
    "first to come home": ("before", True), "last to come home": ("before", False),
    "best scorer": ("more", True), "worst scorer": ("more", False),
    "heaviest": ("heavier", True), "lightest": ("heavier", False),
}  # fmt: skip
LESS = {"younger", "shorter", "after", "less", "lighter"}
MORE = {"older", "taller", "before", "more", "heavier"}
PLACES = {"second": 2, "third": 3, "fourth": 4}


def solve(text: str, choices: tuple[str, ...] = ()) -> str:
    """By how many stand below each: 0, 1, 2, … or the order would not be certain."""
    over: set[tuple[str, str]] = set()
    for first, word, second in re.findall(
        r"(\w+) (?:is|came home|scored) (\w+)(?: than)? (\w+)\.", text
    ):
        assert word in LESS | MORE
        over.add((first, second) if word in MORE else (second, first))
    people = {name for pair in over for name in pair}
    while new := {(a, d) for a, b in over for c, d in over if b == c} - over:
        over |= new
    below = {name: sum(a == name for a, _ in over) for name in people}
    assert sorted(below.values()) == list(range(len(people)))
    asked = re.search(r"Who is (?:the (.+)|(\w+), counted from the (.+))\?$", text)
    assert asked
    _, from_top = ENDS[asked[1] or asked[3]]
    row = sorted(people, key=below.__getitem__, reverse=from_top)
    return row[PLACES[asked[2]] - 1 if asked[2] else 0]


def test_the_words_of_a_question_are_of_one_scale() -> None:
    for seed in range(300):
        text = ordering.make(random.Random(seed), 3).input
        words = set(text.split()) & (LESS | MORE)
        asked = re.search(r"the ([a-z ]+)\?$", text)
        assert asked and ENDS[asked[1]][0] in words | {_twin(word) for word in words}


def _twin(word: str) -> str:
    pairs = (("younger", "older"), ("shorter", "taller"), ("after", "before"),
             ("less", "more"), ("lighter", "heavier"))  # fmt: skip
    return dict(pairs).get(word, word)


def test_a_level_is_the_number_of_people() -> None:
    for level in range(1, 6):
        assert len(re.findall(r"\.", ordering.make(random.Random(0), level).input)) == level + 1
