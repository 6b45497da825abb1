"""A question, a maker with levels of difficulty, and the words that makers draw from."""

import random
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Literal

Format = Literal["letter", "string", "number"]

NAMES = tuple(
    "Ada Ben Cleo Dan Eva Finn Gina Hugo Iris Jack Kira Leo Mona Nils Olga Paul Rita Sam Tara Udo "
    "Vera Will Xenia Yann Zoe".split()
)
THINGS = tuple(
    "key coin ring book lamp shell stone ribbon map bell cup feather button candle brush mirror "
    "marble whistle needle spoon".split()
)
COLOURS = tuple("red blue green yellow white black brown pink grey purple orange golden".split())
PLURALS = tuple("apples pens stamps coins shells cards nuts beads books cups plums keys".split())


@dataclass(frozen=True)
class Question:
    """One question.

    Attributes:
        input: what is asked.
        output: the right answer; for letters, the text of the right choice.
        format: how the answer is written.
        choices: the choices in the order shown, only for letters.
        difficulty: the level it was made at, 1 is the easiest; 0 where the maker has no levels.
    """

    input: str
    output: str
    format: Format
    choices: tuple[str, ...] = ()
    difficulty: int = 0


@dataclass(frozen=True)
class Graded:
    """A maker with levels.

    Attributes:
        make: a question of a level.
        hardest: the last level; the first is 1.
        grows: what a level more means.
    """

    make: Callable[[random.Random, int], Question]
    hardest: int
    grows: str

    def between(self, low: int, high: int) -> Callable[[random.Random], Question]:
        """The maker at levels from ``low`` to ``high``, each as often as the others."""

        def make(rng: random.Random) -> Question:
            level = rng.randint(low, high)
            return replace(self.make(rng, level), difficulty=level)

        return make


def listed(words: Sequence[str]) -> str:
    """``Ada``, ``Ada and Ben``, ``Ada, Ben and Cleo``."""
    return " and ".join(filter(None, [", ".join(words[:-1]), words[-1]]))


def shuffled(rng: random.Random, choices: Sequence[str]) -> tuple[str, ...]:
    """The choices in an order of chance, so that no letter is right more often than others."""
    return tuple(rng.sample(choices, len(choices)))
