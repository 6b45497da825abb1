"""Instructions: carried out by a reader of its own, word by word."""

import json
import random
import re

from tools.data.makers import instructions


def solve(text: str, _: tuple[str, ...] = ()) -> str:
    found = re.fullmatch(
        r"Take these words: ([a-z, ]+)\. (?:(.+)\. Write the result|Write them) (.+), "
        r"and nothing else\.", text
    )  # fmt: skip
    assert found
    words = found[1].split(", ")
    for demand in (found[2] or "").split(", then "):
        words = _done(demand.lower(), words)
    return _written(found[3], words)


def _done(demand: str, words: list[str]) -> list[str]:
    if "leave out" in demand:
        gone = 0 if "first" in demand else len(words) - 1
        return [word for at, word in enumerate(words) if at != gone]
    if "two words only" in demand:
        at = 0 if "first" in demand else len(words) - 2
        return [words[at], words[at + 1]]
    if "alphabetical" in demand:
        ranked = [min(words)]
        while len(ranked) < len(words):
            ranked.append(min(word for word in words if word not in ranked))
        return ranked[::-1] if "reverse" in demand else ranked
    if "reverse order" in demand:
        return [words[len(words) - 1 - at] for at in range(len(words))]
    if "begin each with a capital" in demand:
        return [word[0].upper() + word[1:] for word in words]
    if "capital letters" in demand:
        return ["".join(letter.upper() for letter in word) for word in words]
    if "only the first letter" in demand:
        return [word[:1] for word in words]
    if "number of its letters" in demand:
        return [f"{word}:{sum(1 for _ in word)}" for word in words]
    assert not demand
    return words


def _written(form: str, words: list[str]) -> str:
    if form == "as a JSON list":
        text = "[" + ", ".join(f'"{word}"' for word in words) + "]"
        assert json.loads(text) == words
        return text
    if form.startswith("as a JSON object"):
        text = '{"words": [' + ", ".join(f'"{word}"' for word in words) + "]}"
        assert json.loads(text) == {"words": words}
        return text
    if form.startswith("as a numbered list in one line"):
        return " ".join(f"{at + 1}) {words[at]}" for at in range(len(words)))
    if form.startswith("in square brackets"):
        return "[" + "] [".join(words) + "]"
    joins = {"commas": ",", "semicolons": ";", "hyphens": "-", "slashes": "/"}
    (sign,) = [sign for name, sign in joins.items() if name in form]
    return (sign if "without spaces" in form else f"{sign} ").join(words)


def test_every_demand_and_form_is_met() -> None:
    made = " ".join(instructions.make(random.Random(n), 4).input for n in range(500)).lower()
    groups = (instructions.CHOOSING, instructions.ORDERING, instructions.SPELLING)
    for demand in [one for group in groups for one in group]:
        assert demand.text in made
    for form in instructions.FORMS:
        assert form.lower() in made


def test_a_level_is_the_number_of_demands() -> None:
    for level in range(1, 5):
        text = instructions.make(random.Random(level), level).input
        assert text.count(", then ") == max(level - 2, 0)


def test_no_answer_is_longer_than_helm_lets_it_be() -> None:
    """40 tokens: a piece of four letters or a sign is the least that a tokenizer makes one of."""
    for seed in range(2000):
        answer = instructions.make(random.Random(seed), 1 + seed % 4).output
        pieces = re.findall(r"[a-z]{1,4}|[A-Z]{1,3}|\d|[^\w\s]+", answer)
        assert len(pieces) <= 40, answer
