"""Who stands where in a row that is told by pairs of neighbours."""

import itertools
import random
from dataclasses import dataclass

from tools.data.makers.base import NAMES, Question


@dataclass(frozen=True)
class Scale:
    """What a row goes by.

    Attributes:
        more: ``{first} … {second}``: the first stands higher.
        less: the same the other way round.
        top: how the highest is called.
        bottom: how the lowest is called.
    """

    more: str
    less: str
    top: str
    bottom: str


SCALES = (
    Scale("is older than", "is younger than", "oldest", "youngest"),
    Scale("is taller than", "is shorter than", "tallest", "shortest"),
    Scale("came home before", "came home after", "first to come home", "last to come home"),
    Scale("scored more than", "scored less than", "best scorer", "worst scorer"),
    Scale("is heavier than", "is lighter than", "heaviest", "lightest"),
)
PLACES = {2: "second", 3: "third", 4: "fourth"}


def make(rng: random.Random, level: int) -> Question:
    """``level`` + 2 people; every neighbour is told of once, this way round or that."""
    scale, row = rng.choice(SCALES), rng.sample(NAMES, level + 2)
    facts = [
        f"{high} {scale.more} {low}." if rng.random() < 0.5 else f"{low} {scale.less} {high}."
        for high, low in itertools.pairwise(row)
    ]
    rng.shuffle(facts)
    place = rng.randint(1, min(len(row), 4))
    end, counted = rng.choice(((scale.top, row), (scale.bottom, row[::-1])))
    asked = f"the {end}" if place == 1 else f"{PLACES[place]}, counted from the {end}"
    return Question(f"{' '.join(facts)} Who is {asked}?", counted[place - 1], "string")
