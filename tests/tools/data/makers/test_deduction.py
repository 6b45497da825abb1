"""Deduction: the verdict follows from the rules, read from the text alone."""

import random
import re

from tools.data.makers import deduction


def solve(text: str, _: tuple[str, ...] = ()) -> str:
    """Follow every rule forwards from the kind that is named."""
    above = re.findall(r"Every (\w+) is a (\w+)\.", text)
    traits = re.findall(r"(Every|No) (\w+) is (\w+)\.", text)
    asked = re.search(r"(\w+) is a (\w+)\. Is it true that \1 is (\w+)\?$", text)
    assert asked
    kinds = {asked[2]}
    while new := {b for a, b in above if a in kinds} - kinds:
        kinds |= new
    told = {word for word, kind, trait in traits if kind in kinds and trait == asked[3]}
    assert len(told) < 2  # no rule contradicts another
    return {frozenset({"Every"}): "True", frozenset({"No"}): "False"}.get(
        frozenset(told), "Cannot be known"
    )


def test_a_level_is_the_number_of_rules_to_follow() -> None:
    for level in range(1, 6):
        text = deduction.make(random.Random(level), level).input
        assert len(re.findall(r"\b(?:Every|No) ", text)) == 2 * level + 1


def test_no_kind_is_a_word_of_the_questions() -> None:
    text = " ".join(deduction.make(random.Random(n), 5).input for n in range(200))
    kinds = {kind for pair in re.findall(r"Every (\w+) is a (\w+)", text) for kind in pair}
    assert len(kinds) > 150 and not kinds & {"a", "is", "true", "that"}
