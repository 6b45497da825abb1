"""Who belongs to some groups and not to others."""

import random

from tools.data.makers.base import NAMES, Question, listed

GROUPS = tuple(
    "the choir;the chess club;the football team;the book club;the drama group;the swimming team;"
    "the garden club;the orchestra".split(";")
)
NOBODY = "Nobody"


def make(rng: random.Random, level: int) -> Question:
    """``level`` + 1 groups of some of six people, each asked of with a yes or a no."""
    people = sorted(rng.sample(NAMES, 6))
    groups = rng.sample(GROUPS, level + 1)
    members = {group: set(rng.sample(people, rng.randint(3, 4))) for group in groups}
    wanted = {group: rng.random() < 0.6 for group in groups}
    wanted[groups[0]] = True  # none but those who were named can be meant
    facts = [f"{listed(rng.sample(sorted(who), len(who)))} are in {group}."
             for group, who in members.items()]  # fmt: skip
    rng.shuffle(facts)
    found = [name for name in people if all((name in members[g]) == wanted[g] for g in groups)]
    parts = [f"in {group}" if wanted[group] else f"not in {group}" for group in groups]
    text = (
        f"{' '.join(facts)} Who is {listed(parts)}? Write the names in alphabetical order, "
        f"separated by commas, or {NOBODY}."
    )
    return Question(text, ", ".join(found) or NOBODY, "string")
