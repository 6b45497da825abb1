"""The first four makers. Their questions never change: runs made with them can be made again."""

import random

from tools.data.makers.base import COLOURS, NAMES, PLURALS, THINGS, Question


def boxes(rng: random.Random) -> Question:
    """What does the box of a given colour hold?"""
    colours, things = rng.sample(COLOURS, 4), rng.sample(THINGS, 4)
    asked = rng.randrange(4)
    facts = " ".join(f"The {c} box holds a {t}." for c, t in zip(colours, things, strict=True))
    return Question(f"{facts} What does the {colours[asked]} box hold?", things[asked], "string")


def places(rng: random.Random) -> Question:
    """In which of four boxes is a thing? Four letters to choose from."""
    things, letters = rng.sample(THINGS, 4), "ABCD"
    order = rng.sample(range(4), 4)
    facts = " ".join(f"The {things[i]} is in box {letters[i]}." for i in order)
    asked = rng.randrange(4)
    # Choice and letter agree: so much a tiny model can learn in the demo's minutes.
    choices = tuple(f"In box {letter}" for letter in letters)
    return Question(f"{facts} Where is the {things[asked]}?", choices[asked], "letter", choices)


def syllogism(rng: random.Random) -> Question:
    """Follow two rules from a thing to its property."""
    name, (first, second, other) = rng.choice(NAMES), rng.sample(THINGS, 3)
    colour, wrong = rng.sample(COLOURS, 2)
    rules = [
        f"Whoever has a {first} gets a {second}.",
        f"Whoever has a {second} wears {colour}.",
        f"Whoever has a {other} wears {wrong}.",
    ]
    rng.shuffle(rules)
    return Question(
        f"{' '.join(rules)} {name} has a {first}. What colour does {name} wear?", colour, "string"
    )


def counting(rng: random.Random) -> Question:
    """A sum or a difference of small numbers, in words."""
    name, things = rng.choice(NAMES), rng.choice(PLURALS)
    have, change = rng.randint(2, 12), rng.randint(1, 9)
    if rng.random() < 0.5 and change < have:
        verb, total = "gives away", have - change
    else:
        verb, total = "finds", have + change
    text = (
        f"{name} has {have} {things} and {verb} {change}. How many {things} does {name} have now?"
    )
    return Question(text, f"{total}.", "number")
