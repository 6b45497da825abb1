"""Word problems, worked step by step, that end in ``The answer is N.`` as HELM's GSM8K does.

All numbers stay below 100: HELM gives our own questions 60 tokens to answer in.
"""

import random
from collections.abc import Callable

from tools.data.makers.base import NAMES, PLURALS, Question

MOST = 99
# What happens to how many there are: the sentence, the equation, and the number after it.
Step = tuple[str, str, int]


def make(rng: random.Random, level: int) -> Question:
    """A tale of ``level`` steps."""
    name, friend = rng.sample(NAMES, 2)
    things, have = rng.choice(PLURALS), rng.randint(2, 20)
    told, worked = [f"{name} has {have} {things}."], []
    for index in range(level):
        # Of two equations in one, so one a tale; and what asks for another number ends it.
        kinds = _STEPS + [_packs] * (index == 0) + _LAST * (index == level - 1)
        made = [kind(rng, name, friend, things, have) for kind in kinds]
        # There always is one: below 3 something can be bought, above it some can be given away.
        sentence, equation, have = rng.choice([step for step in made if step and step[2] <= MOST])
        told.append(sentence)
        worked.append(equation)
    if not told[-1].endswith("?"):
        told.append(f"How many {things} does {name} have now?")
    return Question(" ".join(told), f"{' '.join(worked)} The answer is {have}.", "number")


def _finds(rng: random.Random, name: str, friend: str, things: str, have: int) -> Step | None:
    more = rng.randint(2, 30)
    return f"{name} buys {more} more.", f"{have} + {more} = {have + more}.", have + more


def _gives(rng: random.Random, name: str, friend: str, things: str, have: int) -> Step | None:
    if have < 3:
        return None
    less = rng.randint(1, have - 1)
    return f"{name} gives {less} to {friend}.", f"{have} - {less} = {have - less}.", have - less


def _halves(rng: random.Random, name: str, friend: str, things: str, have: int) -> Step | None:
    if have % 2:
        return None
    return f"{name} loses half of them.", f"{have} / 2 = {have // 2}.", have // 2


def _doubles(rng: random.Random, name: str, friend: str, things: str, have: int) -> Step | None:
    times = rng.randint(2, 4)
    told = f"{friend} comes and makes it {times} times as many."
    return told, f"{have} * {times} = {have * times}.", have * times


def _packs(rng: random.Random, name: str, friend: str, things: str, have: int) -> Step | None:
    bags, each = rng.randint(2, 5), rng.randint(2, 9)
    told = f"{friend} brings {bags} bags of {each}."
    return told, f"{have} + {bags} * {each} = {have + bags * each}.", have + bags * each


def _shares(rng: random.Random, name: str, friend: str, things: str, have: int) -> Step | None:
    parts = [n for n in range(2, 10) if have % n == 0]
    if not parts:
        return None
    count = rng.choice(parts)
    told = (
        f"{name} puts all the {things} into {count} boxes, equally many into each. "
        "How many are in a box?"
    )
    return told, f"{have} / {count} = {have // count}.", have // count


def _compares(rng: random.Random, name: str, friend: str, things: str, have: int) -> Step | None:
    more = rng.randint(2, 30)
    told = f"{friend} has {more} more than {name}. How many {things} does {friend} have?"
    return told, f"{have} + {more} = {have + more}.", have + more


def _costs(rng: random.Random, name: str, friend: str, things: str, have: int) -> Step | None:
    price = rng.randint(2, 9)
    told = f"{name} sells all of them for {price} dollars each. How many dollars is that?"
    return told, f"{have} * {price} = {have * price}.", have * price


_Maker = Callable[[random.Random, str, str, str, int], Step | None]
_STEPS: list[_Maker] = [_finds, _gives, _halves, _doubles]
_LAST: list[_Maker] = [_shares, _compares, _costs]
