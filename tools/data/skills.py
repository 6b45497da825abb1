"""Seeded makers of logic and reasoning questions, of our own: no licence, nobody's test set.

Every maker takes a random generator and returns one ``Question``, without end. The answer formats
are those that HELM asks for: a letter, an exact string, a number with its final period. Makers with
levels take them behind their name: ``ordering:2``, ``ordering:2-4``; the name alone is all levels.
"""

import random
import re
from collections.abc import Callable

from tools.data.makers import causes, chat, deduction, first, instructions, ordering, sets, sums
from tools.data.makers.base import Graded, Question
from tools.recipe.faults import nearest

__all__ = ["GRADED", "SKILLS", "Question", "fault", "maker"]

Maker = Callable[[random.Random], Question]

GRADED: dict[str, Graded] = {
    "deduction": Graded(deduction.make, 5, "one more rule to follow"),
    "ordering": Graded(ordering.make, 5, "one more in the row, from three"),
    "sets": Graded(sets.make, 4, "one more group, from two"),
    "causes": Graded(causes.make, 5, "one more link"),
    "sums": Graded(sums.make, 4, "one more step of arithmetic"),
    "instructions": Graded(instructions.make, 4, "one more demand on the format"),
    "chat": Graded(chat.make, 4, "one more exchange, from two"),
}
SKILLS: dict[str, Maker] = {
    **{make.__name__: make for make in (first.boxes, first.counting, first.places)},
    "syllogism": first.syllogism,
    **{name: graded.between(1, graded.hardest) for name, graded in GRADED.items()},
}


def maker(path: str) -> Maker:
    """The maker that a source's ``path`` names; ``fault`` must have found nothing."""
    name, colon, _ = path.partition(":")
    return GRADED[name].between(*_levels(path)) if colon else SKILLS[name]


def fault(path: str) -> str:
    """Why a source's ``path`` names no maker, with what to write instead; empty when it does."""
    name, colon, _ = path.partition(":")
    if name not in SKILLS:
        return f"no maker {path!r}{nearest(name, SKILLS)}; there are {', '.join(SKILLS)}"
    if colon and name not in GRADED:
        return f"{path!r}: {name} has no levels; write {name}"
    low, high = _levels(path) if colon else (1, 1)
    if colon and not 1 <= low <= high <= GRADED[name].hardest:
        most = GRADED[name].hardest
        return f"{path!r}: {name} has levels 1 to {most}; write {name}:1-{most}, or one of them"
    return ""


def _levels(path: str) -> tuple[int, int]:
    """``ordering:2-4`` is (2, 4), ``ordering:3`` (3, 3); (0, 0) where no level is written so."""
    found = re.fullmatch(r"\w+:([1-9]\d?)(?:-([1-9]\d?))?", path, re.ASCII)
    return (int(found[1]), int(found[2] or found[1])) if found else (0, 0)
