"""Training rows of models that are not causal: an example for each answer, its prompt before it.

A causal row teaches every answer in it at once, for a token sees only what stands before it. An
encoder sees both ways: whatever comes after an answer would give it away. So each (row, answer) is
its own example, and of those before it as many stay as the model's window has room for; an
instruction before them stays, too, as in a prompt that the worker is sent (``serve.examples``).
"""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, NamedTuple

from serve import examples as few_shot
from serve.text import TextCodec


class Example(NamedTuple):
    """One answer to one prompt, as token ids.

    Attributes:
        prompt: what the model is given, with what the tokenizer puts before it, not behind.
        answer: what it must give, with the token that ends it.
    """

    prompt: list[int]
    answer: list[int]

    def row(self) -> dict[str, list[int]]:
        """As it stands in a file."""
        return {"prompt_ids": self.prompt, "answer_ids": self.answer}


@dataclass(frozen=True)
class Room:
    """What fits.

    Attributes:
        window: tokens that the model can see at once.
        together: whether prompt and answer stand in one window, with a mask and an end (encoder);
            else each has its own, with an end (encoder and decoder).
    """

    window: int
    together: bool

    def holds(self, example: Example) -> bool:
        """Whether an example fits, up to the last of its places."""
        prompt, answer = len(example.prompt), len(example.answer)
        if self.together:  # the end is told at a mask, and a token of the tokenizer's is behind it
            return prompt + answer + 1 <= self.window
        return prompt + 1 <= self.window and answer <= self.window


@dataclass
class Count:
    """What came of a file's rows.

    Attributes:
        examples: answers that are learnt.
        shortened: of them, those that lost blocks before them.
        blocks: that they lost.
        dropped: answers that had no room even alone.
        tokens: of all examples, with what ends them.
        learnt: of them, those that are learnt.
    """

    examples: int = 0
    shortened: int = 0
    blocks: int = 0
    dropped: int = 0
    tokens: int = 0
    learnt: int = 0

    def add(self, example: Example | None, lost: int) -> None:
        """Count one answer; None had no room."""
        if example is None:
            self.dropped += 1
            return
        self.examples += 1
        self.shortened += lost > 0
        self.blocks += lost
        self.learnt += len(example.answer)
        self.tokens += len(example.prompt) + len(example.answer) + 1

    def said(self, window: int) -> str:
        """For a user, what did not fit; empty when all did."""
        parts = []
        if self.shortened:
            parts.append(
                f"{self.shortened:,} of {self.examples:,} answers lost {self.blocks:,} whole "
                "examples before them"
            )
        if self.dropped:
            parts.append(f"{self.dropped:,} answers are left out, too long even alone")
        return f"{', and '.join(parts)}: the window is {window:,} tokens" if parts else ""


def examples(
    codec: TextCodec, segments: list[dict[str, Any]], room: Room, end: int
) -> Iterator[tuple[Example | None, int]]:
    """The examples of one row, each with how many before it had no room.

    Args:
        codec: the model's tokenizer.
        segments: ``{"text": str, "label": bool}`` in order; a labelled one is an answer.
        room: what fits.
        end: id of the token that ends an answer.

    Yields:
        None where an answer has no room even without any block before it.
    """
    before = prompt = ""
    for segment in segments:
        text = str(segment["text"])
        if segment["label"]:
            said = codec.encode_prompt(text)  # as the model is given it, without its lead
            yield _fitted(codec, before + prompt, [*said.ids[said.lead :], end], room)
            before += prompt + text
            prompt = ""
        else:
            prompt += text


def _fitted(
    codec: TextCodec, text: str, answer: list[int], room: Room
) -> tuple[Example | None, int]:
    """The example with as many of those before it as fit; parted and left out as when served."""
    parts = few_shot.examples(text)
    for lost in range(len(parts.starts)):
        made = Example(list(codec.encode_prompt(parts.without(lost)).ids), answer)
        if room.holds(made):
            return made, lost
    return None, len(parts.starts) - 1
