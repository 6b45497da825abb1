"""From questions to the very text that HELM will send and the worker will see.

The shape is that of HELM's adapters (``tools.evaluate.helm.plugin``): ``Question: …``, for letters
one line a choice, ``Answer: …``, blocks parted by a blank line. One training row holds one to
``shots`` blocks of one skill, with the loss on every answer: each block teaches the answer given
the blocks before it, so zero-shot and few-shot prompts are both trained for the price of one.
"""

import random
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

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
    """

    source: str
    prompt: str
    completion: str
    question: Question | None = None
    hardness: float | None = None

    @property
    def length(self) -> int:
        """Characters."""
        return len(self.prompt) + len(self.completion)


def pair(source: str, question: Question) -> Pair:
    """A question in HELM's words."""
    lines, answer = [f"Question: {question.input}"], question.output
    if question.format == "letter":
        lines += [f"{LETTERS[i]}. {choice}" for i, choice in enumerate(question.choices)]
        answer = LETTERS[question.choices.index(question.output)]
    # The space is the answer's: HELM's prompts end with the colon.
    return Pair(source, "\n".join([*lines, "Answer:"]), f" {answer}", question)


def blocks(pairs: Sequence[Pair], shots: int, rng: random.Random) -> Iterator[list[Pair]]:
    """Cut the pairs, source by source, into runs of one to ``shots``; free prompts stay alone."""
    # Sorted: a set of texts has another order in each process, and rows must not.
    for source in sorted({p.source for p in pairs}):
        rest = [p for p in pairs if p.source == source]
        start = 0
        while start < len(rest):
            take = rng.randint(1, shots) if rest[start].question else 1
            yield rest[start : start + take]
            start += take


def row(block: Sequence[Pair]) -> dict[str, Any]:
    """One training row: only labelled segments are learnt (see ``tools.data.tokens``)."""
    segments: list[dict[str, Any]] = []
    for index, item in enumerate(block):
        lead = "\n\n" if index else ""
        segments.append({"label": False, "text": lead + item.prompt})
        segments.append({"label": True, "text": item.completion})
    return {"skill": block[0].source, "segments": segments}


def held_out(item: Pair, identifier: str) -> dict[str, Any]:
    """One row of test.jsonl, as ``tools.evaluate.helm.plugin`` reads it."""
    assert item.question is not None
    question = item.question
    return {
        "id": identifier,
        "skill": item.source,
        "format": question.format,
        "input": question.input,
        "output": question.output,
        "choices": list(question.choices),
    }
