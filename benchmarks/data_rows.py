"""Instruction rows and evaluation items for ``benchmarks.data``: seeded, with planted copies.

Of the rows 5 % are exact copies (``x``), 10 % near ones in six kinds: ``c`` other case, marks and
blanks, ``w1`` 3 %, ``w2`` 10 % and ``h`` 25 % of the words replaced, ``e`` three out and three in,
``t`` a sentence of ten words behind; 2 % (``s``) are made by one template and are no copies. Words
are made up, frequent ones are so as in English (Zipf), and some phrases recur.
"""

import itertools
import random
from collections.abc import Iterator
from dataclasses import dataclass, replace

NEAR = ("c", "w1", "w2", "e", "t", "h")
_CONSONANTS, _VOWELS, _ENDS = "bcdfghklmnprstvwz", "aeiou", "nrslt"
_VERBS = "Summarize Rewrite Describe Classify Explain Translate Answer List".split()
_THINGS = ("text about {}", "question on {} and {}", "passage from {}", "list of {} with {}")
_ASK = "{} the following {} in your own words and explain why it is so for one who knows nothing."
_TRAIN = (
    "A train leaves {} at {} with {} passengers and {} of them get off at {}. How many are left "
    "when it comes to {} if {} more get on at {}?"
)
_STEPS = (
    "First take the passengers at the start, then subtract those who get off at {} and add those "
    "who get on. {} minus {} plus {} is {}. The answer is {}."
)


@dataclass(frozen=True)
class Row:
    """A row.

    Attributes:
        kind: ``u`` (no copy), ``s``, ``x`` or one of ``NEAR``.
        origin: number that a copy and what it was made of share.
        prompt: the question.
        completion: its answer.
    """

    kind: str
    origin: int
    prompt: str
    completion: str

    @property
    def text(self) -> str:
        """Both, a line each."""
        return f"{self.prompt}\n{self.completion}"


class Writer:
    """Writes texts of made-up words.

    Args:
        seed: of all that is drawn.
    """

    def __init__(self, seed: int) -> None:
        self.rng = random.Random(seed)
        own = random.Random(1)  # the language is the same under every seed
        made = (self._word(own) for _ in itertools.count())
        self.words = list(itertools.islice(dict.fromkeys(itertools.islice(made, 90_000)), 30_000))
        self._weights = list(itertools.accumulate(1 / (n + 3) ** 1.02 for n in range(30_000)))
        self._phrases = [own.choices(self.words[:3000], k=own.randint(5, 9)) for _ in range(2000)]
        self._stock: list[str] = []

    @staticmethod
    def _word(rng: random.Random) -> str:
        syllables = rng.choice((1, 2, 2, 2, 3, 3, 4))
        return "".join(
            rng.choice(_CONSONANTS)
            + rng.choice(_VOWELS)
            + (rng.choice(_ENDS) if rng.random() < 0.35 else "")
            for _ in range(syllables)
        )

    def some(self, count: int) -> list[str]:
        """So many words, by their frequency."""
        if len(self._stock) < count:  # drawn in bulk: a draw by weight is slow one by one
            self._stock = self.rng.choices(self.words, cum_weights=self._weights, k=200_000)
        taken = self._stock[-count:]
        del self._stock[-count:]
        return taken

    def sentence(self, count: int) -> str:
        """A sentence of so many words."""
        found: list[str] = []
        while len(found) < count:
            found += (
                self.rng.choice(self._phrases)
                if self.rng.random() < 0.06
                else self.some(self.rng.randint(3, 8))
            )
        return " ".join(found[:count]).capitalize() + "."

    def unique(self) -> tuple[str, str]:
        """A prompt and a completion that are no copies."""
        thing = self.rng.choice(_THINGS)
        prompt = _ASK.format(self.rng.choice(_VERBS), thing.format(*self.some(thing.count("{}"))))
        left, answer = max(8, int(self.rng.lognormvariate(3.5, 0.55))), []
        while left > 0:
            count = min(left, self.rng.randint(6, 14))
            answer.append(self.sentence(count))
            left -= count
        return prompt, " ".join(answer)

    def sibling(self) -> tuple[str, str]:
        """A prompt and a completion by one template."""
        fill = [
            str(self.rng.randint(2, 99)) if n % 2 else self.rng.choice(self.words).capitalize()
            for n in range(20)
        ]
        return _TRAIN.format(*fill), _STEPS.format(*fill[8:])

    def replaced(self, text: str, share: float) -> str:
        """A text with some of its words replaced."""
        found = text.split()
        for at in self.rng.sample(range(len(found)), max(1, round(len(found) * share))):
            found[at] = self.rng.choice(self.words)
        return " ".join(found)

    def near(self, kind: str, prompt: str, answer: str) -> tuple[str, str]:
        """A near copy of a kind."""
        if kind == "c":
            wide = "  " if self.rng.random() < 0.5 else " "
            other = answer.replace(".", " !").replace(" ", wide).lower()
            return (prompt.upper() if self.rng.random() < 0.3 else prompt.lower()), other
        if kind == "e":
            found = answer.split()
            for _ in range(3):
                found.pop(self.rng.randrange(len(found)))
            for _ in range(3):
                found.insert(self.rng.randrange(len(found)), self.rng.choice(self.words))
            return prompt, " ".join(found)
        if kind == "t":
            return prompt, f"{answer} {self.sentence(10)}"
        share = {"w1": 0.03, "w2": 0.10, "h": 0.25}[kind]
        return self.replaced(prompt, share), self.replaced(answer, share)


def rows(count: int, seed: int) -> list[Row]:
    """So many rows, in an order that the seed decides."""
    writer = Writer(seed)
    near, exact, siblings = count // 10, count // 20, count // 50
    base = [writer.unique() for _ in range(count - near - exact - siblings)]
    made = [Row("u", number, *pair) for number, pair in enumerate(base)]
    made += [Row("s", len(base) + number, *writer.sibling()) for number in range(siblings)]
    chosen = writer.rng.sample(range(len(base)), near + exact)
    for place, origin in enumerate(chosen):
        kind = "x" if place >= near else NEAR[place % len(NEAR)]
        pair = base[origin] if kind == "x" else writer.near(kind, *base[origin])
        made.append(Row(kind, origin, *pair))
    writer.rng.shuffle(made)
    return made


def items(count: int, seed: int) -> list[str]:
    """Evaluation items: a tenth of 4 to 7 words, one of 9 to 12, one by a template, others long."""
    writer = Writer(seed)
    return [_item(writer, number % 10) for number in range(count)]


def _item(writer: Writer, kind: int) -> str:
    rng = writer.rng
    if kind < 2:
        words = rng.randint(4, 7) if kind == 0 else rng.randint(9, 12)
        return writer.sentence(words).rstrip(".") + "?"
    if kind == 2:
        return writer.sibling()[0]
    text = " ".join(writer.sentence(rng.randint(6, 14)) for _ in range(rng.randint(2, 6)))
    return f"{text} What is {' '.join(writer.some(3))}?"


def planted(
    found: list[Row], questions: list[str], each: int, seed: int
) -> dict[int, tuple[str, int]]:
    """Put items into rows that are no copies.

    Args:
        found: the rows; changed in place.
        questions: the items, by ten as ``items`` makes them.
        each: how many of each kind: ``v`` verbatim, ``c`` other case and marks, ``o`` one word
            changed, ``t`` the first 60 % (all long ones), ``s`` short ones, ``a`` of 9 to 12 words.
        seed: of the draw.

    Returns:
        By item: the kind, and the number of the row.
    """
    rng = random.Random(seed)
    free = [number for number, row in enumerate(found) if row.kind == "u"]
    rng.shuffle(free)
    long = [number for number in range(len(questions)) if number % 10 > 2]
    rng.shuffle(long)
    chosen = {kind: long[at * each : (at + 1) * each] for at, kind in enumerate("vcot")}
    chosen |= {"s": range(0, 10 * each, 10), "a": range(1, 10 * each, 10)}  # type: ignore[dict-item]
    truth: dict[int, tuple[str, int]] = {}
    for kind, numbers in chosen.items():
        for number in numbers:
            row = free.pop()
            found[row] = replace(found[row], prompt=_asked(kind, questions[number]))
            truth[number] = (kind, row)
    return truth


def _asked(kind: str, text: str) -> str:
    words = text.split()
    if kind == "c":
        text = text.upper().replace(".", " ...").replace(" ", "  ")
    if kind == "o":
        words[len(words) // 2] = "ZZZ"
        text = " ".join(words)
    if kind == "t":
        text = " ".join(words[: int(len(words) * 0.6)])
    if kind == "s":
        return f"Question: {text}\nAnswer:"
    return f"{'Question:' if kind in 'va' else 'Please read this.'} {text} Give reasons."


def alike(found: list[Row], size: int) -> Iterator[tuple[int, int, float]]:
    """Planted pairs, by number of row, and their Jaccard similarity of word n-grams."""
    origins = {row.origin: number for number, row in enumerate(found) if row.kind == "u"}
    for number, row in enumerate(found):
        if row.kind not in ("u", "s"):
            other = origins[row.origin]
            one, two = _grams(row.text, size), _grams(found[other].text, size)
            yield other, number, len(one & two) / len(one | two)


def _grams(text: str, size: int) -> set[tuple[str, ...]]:
    words = "".join(sign for sign in text.casefold() if sign.isalnum() or sign.isspace()).split()
    return {tuple(words[at : at + size]) for at in range(max(len(words) - size + 1, 1))}
