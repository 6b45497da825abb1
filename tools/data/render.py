"""From questions to the very text that HELM will send and the worker will see.

The shape is that of HELM's adapters (``tools.evaluate.helm.plugin``): ``Question: …``, for letters
one line a choice, ``Answer: …``, blocks parted by a blank line. One training row holds one to
``shots`` blocks of one skill, with the loss on every answer: each block teaches the answer given
the blocks before it, so zero-shot and few-shot prompts are both trained for the price of one.
"""

import random
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol

from tools.data.skills import Question

LETTERS = "ABCDEFGHIJ"


@dataclass(frozen=True)
class Pair:
    """A prompt and the completion it wants.

    Attributes:
        source: name in the recipe.
        prompt: what the model is given.
        completion: what it must learn to give.
        question: as its maker made it, where there was one.
        hardness: what ``data.order: easy-first`` goes by; unlike numbers are never compared, for
            each source is ranked by itself.
        place: where it was read, such as ``file:line``.
        fields: of its record, as text, those that an operator names.
        earlier: texts before the completion and whether they are learnt, where some are.
        origin: the row that it was before an operator wrote it otherwise.
    """

    source: str
    prompt: str
    completion: str
    question: Question | None = None
    hardness: float | None = None
    place: str = field(default="", compare=False)
    fields: Mapping[str, str] | None = field(default=None, compare=False)
    earlier: tuple[tuple[bool, str], ...] = ()
    origin: "Item | None" = field(default=None, compare=False, repr=False)

    @property
    def length(self) -> int:
        """Characters."""
        return len(self.prompt) + len(self.completion)

    @property
    def joins(self) -> bool:
        """Whether it may stand beside others in one training row."""
        return self.question is not None or (self.origin is not None and self.origin.joins)

    def texts(self) -> tuple[str, str]:
        """Prompt and completion."""
        return self.prompt, self.completion

    def segments(self) -> list[dict[str, Any]]:
        """Texts and whether they are learnt, in order; a whole text has none before it."""
        before = self.earlier or ([(False, self.prompt)] if self.prompt else [])
        texts = [*before, (True, self.completion)]
        return [{"label": learnt, "text": text} for learnt, text in texts]


class Item(Protocol):
    """What a row is made of: a ``Pair``, or one that lies on the disk."""

    @property
    def source(self) -> str:
        """Name in the recipe."""

    @property
    def prompt(self) -> str:
        """All before the last learnt text."""

    @property
    def completion(self) -> str:
        """The last learnt text."""

    @property
    def question(self) -> Question | None:
        """As its maker made it, where there was one."""

    @property
    def joins(self) -> bool:
        """Whether it may stand beside others in one training row."""

    @property
    def hardness(self) -> float | None:
        """What ``data.order: easy-first`` goes by; None: the length."""

    @property
    def length(self) -> int:
        """Characters."""

    @property
    def place(self) -> str:
        """Where it was read; empty where it was made."""

    @property
    def fields(self) -> Mapping[str, str] | None:
        """Of its record, as text, those that an operator names."""

    def texts(self) -> tuple[str, str]:
        """Prompt and completion."""

    def segments(self) -> list[dict[str, Any]]:
        """Texts and whether they are learnt, in order."""


def pair(source: str, question: Question) -> Pair:
    """A question in HELM's words."""
    lines, answer = [f"Question: {question.input}"], question.output
    if question.format == "letter":
        lines += [f"{LETTERS[i]}. {choice}" for i, choice in enumerate(question.choices)]
        answer = LETTERS[question.choices.index(question.output)]
    # The space is the answer's: HELM's prompts end with the colon.
    prompt, hardness = "\n".join([*lines, "Answer:"]), question.difficulty or None
    return Pair(source, prompt, f" {answer}", question, hardness)


def blocks[T: Item](pairs: Sequence[T], shots: int, rng: random.Random) -> Iterator[list[T]]:
    """Cut the pairs, source by source, into runs of one to ``shots``; free prompts stay alone."""
    by_source: dict[str, list[T]] = {}
    for item in pairs:
        by_source.setdefault(item.source, []).append(item)
    # Sorted: a set of texts has another order in each process, and rows must not.
    for source in sorted(by_source):
        rest = by_source[source]
        if not rest[0].joins:  # nor does any other of the source
            yield from ([item] for item in rest)
            continue
        start = 0
        while start < len(rest):
            take = rng.randint(1, shots)
            yield rest[start : start + take]
            start += take


def row(block: Sequence[Item]) -> dict[str, Any]:
    """One training row: only labelled segments are learnt (see ``tools.data.tokens``)."""
    segments: list[dict[str, Any]] = []
    for index, item in enumerate(block):
        own = item.segments()
        if index:
            own[0] = {**own[0], "text": "\n\n" + own[0]["text"]}
        segments += own
    return {"skill": block[0].source, "segments": segments}


def held_out(
    item: Item, identifier: str, answers: str = "", verbatim: bool = False, end: str = ""
) -> dict[str, Any]:
    """One row of test.jsonl, as ``tools.evaluate.helm.plugin`` reads it.

    Args:
        item: a maker's question, or a row of the user's.
        identifier: its name in HELM's tables.
        answers: of what kind the answers of the user's rows are.
        verbatim: its prompt as it stands is asked, though it could be asked in HELM's words: so are
            others of its source.
        end: what the chat template ends an answer with: no part of what is asked for.
    """
    if verbatim or (question := item.question) is None:
        return {
            "id": identifier,
            "skill": item.source,
            "format": answers,
            "input": item.prompt,
            "output": item.completion.removesuffix(end),
            "choices": [],
            "verbatim": True,
        }
    return {
        "id": identifier,
        "skill": item.source,
        "format": question.format,
        "input": question.input,
        "output": question.output,
        "choices": list(question.choices),
    }
