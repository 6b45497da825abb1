"""One training row as tokens, beside the ids that serving would make of the same prompt."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import NamedTuple

from serve.text import TextCodec
from tools.data import tokens
from tools.preview.rows import Row

SHOWN = 12  # characters of a text that a message quotes


@dataclass(frozen=True)
class Answer:
    """An answer's beginning.

    Attributes:
        served: ids of all that stands before it, as the worker reads them of a prompt.
        trained: as many ids of the row, from its first.
        around: the last characters before the answer, and its first.
    """

    served: tuple[int, ...]
    trained: tuple[int, ...]
    around: tuple[str, str]

    @property
    def equal(self) -> bool:
        """Whether the model is asked with the very ids that it was trained on."""
        return self.served == self.trained


@dataclass(frozen=True)
class Seen:
    """A row as it is trained.

    Attributes:
        row: its texts.
        ids: tokens.
        labels: -100 for those that are not learnt.
        lead: how many tokens in front are the tokenizer's own (BOS).
        answers: each with what stands before it; none in a text without a prompt.
        length: tokens before it was cut to ``train.sequence_len``.
    """

    row: Row
    ids: list[int]
    labels: list[int]
    lead: int
    answers: tuple[Answer, ...]
    length: int

    @property
    def learnt(self) -> int:
        """Tokens that are learnt."""
        return len(self.labels) - self.labels.count(tokens.IGNORED)


class Fault(NamedTuple):
    """What is wrong with a row.

    Attributes:
        kind: the same for all rows with which the same is wrong.
        said: of this one.
        remedy: what to do about it.
    """

    kind: str
    said: str
    remedy: str


class Examiner:
    """Reads rows as training and serving do.

    Args:
        codec: the base model's tokenizer.
        parse_special: whether the worker reads special tokens in prompts (``serve.parse_special``).
        cut: ``train.sequence_len`` where longer rows are cut, not dropped; else 0.
    """

    def __init__(self, codec: TextCodec, parse_special: bool = False, cut: int = 0) -> None:
        self.codec, self._parse, self._cut = codec, parse_special, cut
        made = codec.encode_prompt("a")
        self._lead = made.ids[: made.lead]
        self._bos = b"".join(codec.token_bytes(one, special=True) for one in self._lead).decode()
        self._specials = codec.specials

    def see(self, row: Row) -> Seen:
        """The row's tokens, and what serving would read before each of its answers."""
        made = tokens.encode(self.codec, row.segments, row.chat)
        ids, labels = made["input_ids"], made["labels"]
        answers, before = [], ""
        for segment in row.segments:
            if segment["label"] and before:
                served = self._served(before, row.chat)
                around = before[-SHOWN:], segment["text"][:SHOWN]
                answers.append(Answer(served, tuple(ids[: len(served)]), around))
            before += segment["text"]
        end = self._cut or len(ids)
        lead = 0 if row.chat else len(self._lead)
        return Seen(row, ids[:end], labels[:end], lead, tuple(answers), len(ids))

    def _served(self, prompt: str, chat: bool) -> tuple[int, ...]:
        """Ids that the worker makes of a prompt; of a chat's, the template writes BOS itself."""
        made = self.codec.encode_prompt(prompt, chat or self._parse)
        return made.ids[made.lead :] if chat else made.ids

    def faults(self, seen: Seen, whole: bool = False) -> Iterator[Fault]:
        """What is wrong with a row.

        Args:
            seen: the row.
            whole: its source is of whole texts, all of which are learnt.
        """
        yield from self._ends(seen)
        unequal = next((answer for answer in seen.answers if not answer.equal), None)
        if unequal:
            yield self._unequal(unequal, seen.row)
        yield from self._learnt(seen, whole)
        yield from self._texts(seen.row)

    def _ends(self, seen: Seen) -> Iterator[Fault]:
        lead, text = seen.lead, seen.row.segments[0]["text"]
        # The second one is of the row's text: read as the token, or as letters.
        twice = lead and tuple(seen.ids[lead : 2 * lead]) == self._lead
        if twice or (not seen.row.chat and self._bos and text.startswith(self._bos)):
            yield Fault(
                "two BOS",
                f"its text begins with {self._bos}, which the tokenizer puts there by itself",
                "leave it out of the prompt: two BOS stand before no served prompt",
            )
        if seen.length == len(seen.ids) and seen.ids[-1] != self.codec.eos_id:
            yield Fault(
                "no EOS",
                "no end-of-text token behind its answer",
                "the tokenizer names none: set eos_token in the model's tokenizer_config.json",
            )

    def _learnt(self, seen: Seen, whole: bool) -> Iterator[Fault]:
        if not seen.learnt:
            cut = f"its answer begins behind token {len(seen.ids):,} of {seen.length:,}"
            said = f"0 % of it is learnt{': ' + cut if seen.length > len(seen.ids) else ''}"
            remedy = "raise train.sequence_len, or set train.excess_length_strategy=drop"
            if seen.length == len(seen.ids):
                remedy = "give it an answer, or take it out"
            yield Fault("0 % learnt", said, remedy)
        elif seen.learnt == 1 and seen.labels[-1] == self.codec.eos_id:
            yield Fault(
                "EOS alone learnt",
                "the end-of-text token is all that is learnt of it",
                "its answer's first token begins in the prompt: end the prompt before the blank or "
                "the word, and begin the completion with it",
            )
        elif not whole and all(one["label"] or not one["text"] for one in seen.row.segments):
            yield Fault(
                "100 % learnt",
                "100 % of it is learnt: no prompt stands before its answer",
                "give the source a prompt, or say shape: text if its rows are whole texts",
            )

    def _unequal(self, answer: Answer, row: Row) -> Fault:
        pairs = zip(answer.served, answer.trained, strict=False)
        shorter = min(len(answer.served), len(answer.trained))
        at = next((place for place, (one, other) in enumerate(pairs) if one != other), shorter)
        before, first = answer.around
        asked = [one["text"] for one in row.segments if not one["label"]]
        special = next((one for one in self._specials if any(one in text for text in asked)), "")
        why = f"the answer ({first!r}…) changes which tokens the prompt ends in"
        remedy = "end the prompt before the blank or the word that the answer goes on with, and "
        remedy += "begin the completion with it"
        if self._parse and special:
            why = f"serving reads {special} as a token (serve.parse_special), training as text"
            remedy = "set serve.parse_special=false, or leave it out of the prompt"
        return Fault(
            "served otherwise",
            f"serving reads its prompt (…{before!r}) in other ids than are trained, from token "
            f"{at + 1} of {len(answer.served)} ({_ids(answer.served, at)} served, "
            f"{_ids(answer.trained, at)} trained): {why}",
            remedy,
        )

    def _texts(self, row: Row) -> Iterator[Fault]:
        for text in (one["text"] for one in row.segments if one["label"]):
            if not text.strip():
                yield Fault("empty answer", "an answer of it is empty", "take the row out")
                return
            if row.chat:  # whose template ends it with one; the data stage looks for others
                continue
            if found := next((token for token in self._specials if token in text), ""):
                yield Fault(
                    "special token",
                    f"its answer holds {found}, which is the model's own token",
                    f"take it out of the row, or all such rows by the operator "
                    f"filter: {{column: completion, lacks: {found!r}}}",
                )
                return


def _ids(ids: Sequence[int], at: int) -> str:
    return " ".join(map(str, ids[at : at + 3])) or "nothing"
