"""Instructions that leave no choice: some words, and the one exact form to write them in."""

import json
import random
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from tools.data.makers.base import PLURALS, THINGS, Question


@dataclass(frozen=True)
class Demand:
    """One thing that is asked of the words.

    Attributes:
        text: as the instruction says it.
        apply: what it makes of the words.
    """

    text: str
    apply: Callable[[list[str]], list[str]]


CHOOSING = (
    Demand("leave out the first word", lambda words: words[1:]),
    Demand("leave out the last word", lambda words: words[:-1]),
    Demand("keep the first two words only", lambda words: words[:2]),
    Demand("keep the last two words only", lambda words: words[-2:]),
)
ORDERING = (
    Demand("put them in alphabetical order", sorted),
    Demand("put them in reverse alphabetical order", lambda words: sorted(words, reverse=True)),
    Demand("put them in reverse order", lambda words: words[::-1]),
)
SPELLING = (
    Demand("write them in capital letters", lambda words: [word.upper() for word in words]),
    Demand("begin each with a capital letter", lambda words: [word.title() for word in words]),
    Demand("write only the first letter of each", lambda words: [word[0] for word in words]),
    Demand("put the number of its letters behind each word, after a colon",
           lambda words: [f"{word}:{len(word)}" for word in words]),
)  # fmt: skip
#: How the words are joined: what the instruction says, and the text.
FORMS: dict[str, Callable[[Sequence[str]], str]] = {
    "separated by commas": ", ".join,
    "separated by semicolons": "; ".join,
    "separated by hyphens, without spaces": "-".join,
    "separated by slashes, without spaces": "/".join,
    "as a JSON list": lambda words: json.dumps(list(words)),
    'as a JSON object with the one key "words", whose value is a list':
        lambda words: json.dumps({"words": list(words)}),
    "as a numbered list in one line, such as 1) this 2) that":
        lambda words: " ".join(f"{n}) {word}" for n, word in enumerate(words, 1)),
    "in square brackets, each in its own":
        lambda words: " ".join(f"[{word}]" for word in words),
}  # fmt: skip


def make(rng: random.Random, level: int) -> Question:
    """A form, which is the first demand, and ``level`` - 1 more, to be met in order."""
    words = rng.sample([*THINGS, *PLURALS], rng.randint(3, 4))
    groups = sorted(rng.sample(range(3), level - 1))
    demands = [rng.choice((CHOOSING, ORDERING, SPELLING)[group]) for group in groups]
    form = rng.choice(list(FORMS))
    found = list(words)
    for demand in demands:
        found = demand.apply(found)
    first = ", then ".join(demand.text for demand in demands)
    asked = f"{first[0].upper()}{first[1:]}. Write the result" if demands else "Write them"
    text = f"Take these words: {', '.join(words)}. {asked} {form}, and nothing else."
    return Question(text, FORMS[form](found), "string")
