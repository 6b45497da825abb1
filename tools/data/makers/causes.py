"""Cause against correlation: what moves together, and what moves the other.

The dials are a machine's, so that no link has to be true of the world. There is never more than one
way between two of them, so exactly one of the four answers holds.
"""

import random

from tools.data.makers.base import COLOURS, Question, shuffled

RULE = "When a dial is turned, the dials it drives turn too, and nothing else makes them turn."


def make(rng: random.Random, level: int) -> Question:
    """``level`` links between ``level`` + 1 dials, and one link apart from them."""
    names = rng.sample(COLOURS, level + 3)
    links, (lone, apart) = _tree(rng, names[: level + 1]), names[level + 1 :]
    first, second = rng.sample(names[: level + 1], 2)
    if rng.random() < 0.15:
        second = lone
    facts = [f"The {a} dial drives the {b} dial." for a, b in [*links, (lone, apart)]]
    rng.shuffle(facts)
    told = f"{RULE} {' '.join(facts)}"
    if rng.random() < 0.5:
        return _effect(rng, told, links, first, second)
    return _relation(rng, told, links, first, second)


def _tree(rng: random.Random, names: list[str]) -> list[tuple[str, str]]:
    """Links that join all names without a circle; each new one drives an old one or is driven."""
    links = []
    for index in range(1, len(names)):
        old, new = rng.choice(names[:index]), names[index]
        links.append((old, new) if rng.random() < 0.65 else (new, old))
    return links


def _relation(
    rng: random.Random, told: str, links: list[tuple[str, str]], first: str, second: str
) -> Question:
    choices = (
        f"Turning {first} turns {second}",
        f"Turning {second} turns {first}",
        "A third dial turns both, and neither turns the other",
        "They have nothing to do with each other",
    )
    above, below = _drivers(links, first), _drivers(links, second)
    right = 0 if first in below else 1 if second in above else 2 if above & below else 3
    text = f"{told} How are the {first} dial and the {second} dial related?"
    return Question(text, choices[right], "letter", shuffled(rng, choices))


def _effect(
    rng: random.Random, told: str, links: list[tuple[str, str]], first: str, second: str
) -> Question:
    """What turning one by hand does; that two turn together is told where it is so."""
    above, below = _drivers(links, first), _drivers(links, second)
    related = {first, *above} & {second, *below}
    seen = f" The {first} dial and the {second} dial are often seen to turn at the same time."
    text = (
        f"{told}{seen if related else ''} Somebody turns the {first} dial by hand and touches no "
        f"other. What does the {second} dial do?"
    )
    choices = ("It turns", "It stays")
    right = choices[0] if first in below else choices[1]
    return Question(text, right, "letter", shuffled(rng, choices))


def _drivers(links: list[tuple[str, str]], name: str) -> set[str]:
    """All dials that drive one, directly or through others."""
    found: set[str] = set()
    new = {a for a, b in links if b == name}
    while new:
        found |= new
        new = {a for a, b in links if b in new} - found
    return found
