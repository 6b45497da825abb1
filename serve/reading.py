"""How a tokenizer reads a text: what it puts around it, which spaces it takes for its own."""

import re
from bisect import bisect_left
from collections.abc import Iterable
from dataclasses import dataclass

from tokenizers import Regex, Tokenizer, pre_tokenizers


@dataclass(frozen=True)
class Reader:
    """A tokenizer in one of its two modes: special tokens as text, or read as such.

    Attributes:
        tokenizer: in that mode.
        swallows: finds the spaces that the tokenizer takes for its own; None: it takes none.
    """

    tokenizer: Tokenizer
    swallows: re.Pattern[str] | None

    def ids(self, text: str) -> list[int]:
        """Token ids, from which the text can be read back."""
        return list(self.tokenizer.encode(self._padded(text), add_special_tokens=False).ids)

    def spans(self, text: str) -> tuple[list[int], list[int]]:
        """The same, and where in the text each token begins."""
        made = self.tokenizer.encode(self._padded(text), add_special_tokens=False)
        found = self.swallows.finditer(text) if self.swallows else ()
        inserted = [match.end() - 1 + count for count, match in enumerate(found)]
        return list(made.ids), [start - bisect_left(inserted, start) for start, _ in made.offsets]

    def _padded(self, text: str) -> str:
        """The text with a second space where the tokenizer swallows the first."""
        return self.swallows.sub(r"\1  ", text) if self.swallows else text


def framing(tokenizer: Tokenizer) -> tuple[tuple[int, ...], tuple[int, ...]]:
    """The special tokens the tokenizer puts by itself before a text (BOS) and behind it (EOS)."""
    bare = tokenizer.encode("a", add_special_tokens=False).ids
    full = tokenizer.encode("a", add_special_tokens=True).ids
    front = full.index(bare[0])
    return tuple(full[:front]), tuple(full[front + len(bare) :])


def take_apart(tokenizer: Tokenizer, specials: Iterable[str]) -> None:
    """Keeps the model from finding special tokens in a text by itself.

    To a unigram model they are entries like any other, and merges may lead to them. Splitting off
    their first character leaves nothing to find.
    """
    found = [
        f"{re.escape(text[0])}(?={re.escape(text[1:])})"
        for text in specials
        if tokenizer.token_to_id(text) in tokenizer.encode(text, add_special_tokens=False).ids
    ]
    if found:
        split = pre_tokenizers.Split(Regex("|".join(found)), "isolated")
        steps = [step for step in (tokenizer.pre_tokenizer, split) if step]
        tokenizer.pre_tokenizer = pre_tokenizers.Sequence(steps)
