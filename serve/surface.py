"""Ids that keep every character, for tokenizers that do not: WordPiece, Unigram without bytes.

HELM sends each prompt through /tokenize and /decode and goes on with what comes back; a tokenizer
that drops line ends and capitals so changes the question. Here an id says more than the model is
told: which entry of the vocabulary, what stands before it in the text, and how its letters are
written. What that cannot say (an unknown word, an accent that was stripped, a special token written
out) is given character by character. On ordinary text there is one id for each of the model's
tokens, so who counts ids counts what the model reads.

``id % size`` is the vocabulary entry for ids below ``size * VARIANTS``; from there on a code point.
Every id has its own text, whatever stands beside it, so any cut of a list is a prefix of the text.
"""

import itertools
from collections.abc import Iterable, Sequence

from serve.reading import Reader

#: What may stand between two tokens; anything else is given character by character.
GAPS = (
    *("", " ", "\n", "\n\n", "  ", "\n\n\n", "\t", "\r\n"),
    *("   ", "    ", "\n    ", "\n        "),
)
#: A token's letters: as in the vocabulary, the first one a capital, all capitals.
FORMS = 3
VARIANTS = len(GAPS) * FORMS

_CHARACTERS = 0x110000
_SURROGATES = range(0xD800, 0xE000)  # no text has them


class Surface:
    """Text to ids and back. Safe to use from several threads.

    Args:
        reader: the tokenizer, special tokens read as text.
        entries: what each id of the vocabulary is in a text: no mark of a space or of a word that
            goes on. Special and unknown tokens are left out: they have no text of their own.
        size: of the vocabulary, all tokens counted.
    """

    def __init__(self, reader: Reader, entries: dict[int, str], size: int) -> None:
        self._reader, self._entries, self._size = reader, entries, size

    def encode(self, text: str) -> list[int]:
        """Ids of a text; ``decode`` of them is the text, of the first few the text's beginning."""
        ids: list[int] = []
        place = 0
        for token, start, end in self._slices(self._reader, text):
            ids += self._told(token, text[place:start], text[start:end])
            place = end
        return ids + self._spelt(text[place:])

    def decode(self, ids: Iterable[int]) -> str:
        """Their text; an id that stands for nothing gives nothing."""
        return "".join(map(self._text, ids))

    def undecodable(self, ids: Sequence[int]) -> list[int]:
        """Places of the ids that ``encode`` can never give."""
        return [place for place, one in enumerate(ids) if not self._can_be(one)]

    def texts(self, reader: Reader, text: str) -> list[str]:
        """What each of the model's tokens stands for, with the gap before it; joined, the text.

        Args:
            reader: reads special tokens as such, or as text.
            text: where it has no token at all, it is given as one piece.
        """
        places = [end for _, _, end in self._slices(reader, text)][:-1]
        if not text:
            return []
        return [text[i:j] for i, j in itertools.pairwise([0, *places, len(text)])]

    def _slices(self, reader: Reader, text: str) -> list[tuple[int, int, int]]:
        """The model's tokens: id, and where in the text what it stands for begins and ends.

        They follow one another; what is between two of them no token stands for.
        """
        found, place = [], 0
        for token, start, end in reader.pieces(text):
            start, end = max(start, place), max(end, place)
            if self._entries.get(token) == "":
                end = start = place  # a mark of a space alone: the space is the next one's gap
            seen = text[start:end]
            start += len(seen) - len(seen.lstrip())  # some count the space before as theirs
            found.append((token, start, end))
            place = end
        return found

    def _told(self, token: int, gap: str, seen: str) -> list[int]:
        forms = _forms(self._entries[token]) if token in self._entries else ()
        if seen not in forms or gap not in GAPS:
            return self._spelt(gap + seen)
        variant = GAPS.index(gap) * FORMS + forms.index(seen)
        return [token + self._size * variant]

    def _spelt(self, text: str) -> list[int]:
        return [self._size * VARIANTS + ord(character) for character in text]

    def _text(self, one: int) -> str:
        variant, token = divmod(one, self._size)
        if variant >= VARIANTS:
            return chr(one - self._size * VARIANTS)
        gap, form = divmod(variant, FORMS)
        return GAPS[gap] + _forms(self._entries[token])[form] if token in self._entries else ""

    def _can_be(self, one: int) -> bool:
        character = one - self._size * VARIANTS
        if character >= 0:
            return character < _CHARACTERS and character not in _SURROGATES
        return one >= 0


def _forms(entry: str) -> tuple[str, str, str]:
    return entry, entry[:1].upper() + entry[1:], entry.upper()
