"""Word n-grams that questions and training rows share: the rules, apart from where texts come from.

A gram is 13 words, case and punctuation apart, as in GPT-3 (Brown et al. 2020, appendix C). The
questions are indexed, which is small, and the rows pass by once, which may be many.
"""

import re
import unicodedata
from collections import Counter, defaultdict
from collections.abc import Collection, Iterable, Iterator
from dataclasses import dataclass
from itertools import pairwise

Words = tuple[str, ...]

GRAM = 13  # words; the largest n of GPT-3's overlap analysis
SHORT = 8  # words; its smallest: shorter grams collide by chance
DIRTY = 0.8  # share of a question's words; Llama 2's "dirty" (Touvron et al. 2023, appendix A.6)
COMMON = 10  # a gram in more texts than this is boilerplate (GPT-3 says so of training documents)

METHOD = (
    f"{GRAM}-grams of words, case and punctuation apart (GPT-3: Brown et al. 2020, appendix C). "
    "A question is found when one row holds the whole of it in one piece, or holds "
    f"{DIRTY:.0%} of its words in such grams (the threshold is Llama 2's: Touvron et al. 2023, "
    f"appendix A.6); grams in more than {COMMON} questions or more than {COMMON} rows are "
    f"boilerplate and count neither way. Of {SHORT} to {GRAM - 1} words, a row must hold the whole "
    f"question; of fewer than {SHORT}, it must stand there as a line of its own."
)

_PUNCTUATION = re.compile(r"[^\w\s]|_")
# The same as a table, which is twice as fast and enough for most texts.
_ASCII = {code: None for code in range(128) if _PUNCTUATION.match(chr(code))}
_LABEL = re.compile(r"\w{1,15}:")


@dataclass(frozen=True)
class Finding:
    """What a question shares with the row that shares most.

    Attributes:
        row: the number that the row was given.
        share: of the question's words, boilerplate apart, 0 to 1.
        why: the evidence, in words.
    """

    row: int
    share: float
    why: str

    @property
    def contaminated(self) -> bool:
        """Whether the row holds the question, rather than some words that it shares."""
        return self.share >= DIRTY


def words(text: str) -> Words:
    """The words of a text; two texts that differ in case and punctuation only have the same."""
    folded = _folded(text)
    plain = folded.translate(_ASCII) if folded.isascii() else _PUNCTUATION.sub("", folded)
    return tuple(plain.split())


def line(text: str) -> str:
    """A text too short for ``words``, where a sign may be all that differs: 3 + 4 is not 3 * 4."""
    return _closed(_folded(text).split())


class Overlap:
    """Finds questions in training rows.

    Args:
        questions: their texts; one that comes twice counts once.
    """

    def __init__(self, questions: Collection[str]) -> None:
        self._long, self._short = _Grams(GRAM), _Grams(SHORT)
        self._probes: dict[Words, list[tuple[Words, int]]] = defaultdict(list)
        self._lines: set[str] = set()
        self._height = 1  # of the tallest short question, in lines
        self._rows: dict[Words, list[int]] = defaultdict(list)
        self._whole: dict[Words | str, int] = {}
        texts = {words(text): text for text in questions}
        for question in texts:
            if len(question) >= GRAM:
                self._long.add(question)
            elif len(question) >= SHORT:
                self._short.add(question[:SHORT])
        for question in texts:
            self._probe(question)  # only now: which gram is rare is known once all are counted
        self._add_lines(text for text in questions if len(words(text)) < SHORT)

    def _probe(self, question: Words) -> None:
        """File a question under the one of its grams that the fewest others have."""
        if len(question) >= GRAM:
            grams = enumerate(_windows(question, GRAM))
            at, gram = min(grams, key=lambda pair: self._long.uses[pair[1]])
            self._probes[gram].append((question, at))
        elif len(question) >= SHORT:
            self._probes[question[:SHORT]].append((question, 0))

    def _add_lines(self, texts: Iterable[str]) -> None:
        for text in texts:
            self._lines.add(line(text))
            self._height = max(self._height, len(pieces(text)))
        self._lines.discard("")  # a row has it wherever a line is signs or a label alone

    def scan(self, row: int, text: str) -> None:
        """Look a training row through.

        Args:
            row: its number; numbers may only grow.
            text: all that the model reads of it.
        """
        found = words(text)
        for grams in (self._long, self._short):
            for at, gram in grams.find(found):
                self._note(gram, row)
                for question, offset in self._probes.get(gram, ()):
                    start = max(at - offset, 0)  # below 0 a slice would count from the row's end
                    if found[start : start + len(question)] == question:
                        self._whole.setdefault(question, row)
        if self._lines:
            for key in self._lines.intersection(candidates(text, self._height)):
                self._whole.setdefault(key, row)

    def _note(self, gram: Words, row: int) -> None:
        """Remember which rows hold a gram: one more than may, so that boilerplate is known."""
        rows = self._rows[gram]
        # Numbers only grow, so the last one tells whether this row is there already.
        if len(rows) <= COMMON and rows[-1:] != [row]:
            rows.append(row)

    def finding(self, text: str) -> Finding | None:
        """What the rows looked through so far share with a question; None: nothing.

        Args:
            text: one of the questions.
        """
        question = words(text)
        key = question if len(question) >= SHORT else line(text)
        if key in self._whole:
            return Finding(self._whole[key], 1.0, "the whole question")
        return self._part(question)

    def _part(self, question: Words) -> Finding | None:
        own: set[int] = set()  # positions of words in grams that are no boilerplate
        covered: dict[int, set[int]] = defaultdict(set)  # by row
        evidence: dict[int, Words] = {}
        for at, gram in enumerate(_windows(question, GRAM)):
            rows = self._rows.get(gram, [])
            if max(len(rows), self._long.uses[gram]) <= COMMON:
                own.update(range(at, at + GRAM))
                for row in rows:
                    covered[row].update(range(at, at + GRAM))
                    evidence.setdefault(row, gram)
        if not covered:
            return None
        row = max(covered, key=lambda number: (len(covered[number]), -number))
        share = len(covered[row]) / len(own)
        return Finding(row, share, f"{share:.0%} of its words, as: " + " ".join(evidence[row]))


class _Grams:
    """All grams of one size that questions have, found in a row with few look-ups.

    Only at every ``step``-th place of a row a ``seed`` is looked up, the first half of a gram in
    length. Every gram of the row has exactly one whole seed that starts at such a place, for
    ``seed + step - 1`` words make a gram: where a seed is known, the grams around it are looked up.

    Args:
        size: words in a gram.
    """

    def __init__(self, size: int) -> None:
        self.uses: Counter[Words] = Counter()  # gram: questions that have it
        self._size, self._seed = size, (size + 1) // 2
        self._step = size - self._seed + 1
        self._seeds: set[Words] = set()

    def add(self, question: Words) -> None:
        """Index a question's grams."""
        self.uses.update(set(_windows(question, self._size)))
        self._seeds.update(_windows(question, self._seed))

    def find(self, row: Words) -> Iterator[tuple[int, Words]]:
        """Where the row has known grams, and which."""
        if not self._seeds:
            return
        last = len(row) - self._size
        for at in range(0, len(row) - self._seed + 1, self._step):
            if row[at : at + self._seed] in self._seeds:
                for start in range(max(at - self._step + 1, 0), min(at, last) + 1):
                    gram = row[start : start + self._size]
                    if gram in self.uses:
                        yield start, gram


def _windows(found: Words, size: int) -> Iterator[Words]:
    return (found[at : at + size] for at in range(len(found) - size + 1))


def _folded(text: str) -> str:
    return (text if text.isascii() else unicodedata.normalize("NFKC", text)).casefold()


def pieces(text: str) -> list[list[str]]:
    """The lines of a text, in words with their signs; a label within a line begins another."""
    found = []
    for one in _folded(text).splitlines():
        signs = one.split()
        labels = [at for at, sign in enumerate(signs) if _is_label(sign)] if ":" in one else []
        found += [signs[a:b] for a, b in pairwise([0, *labels, len(signs)])]
    return [piece for piece in found if piece]


def _is_label(sign: str) -> bool:
    return sign.endswith(":") and _LABEL.fullmatch(sign) is not None


def candidates(text: str, height: int) -> Iterator[str]:
    """What a short question may be compared with: each line, with and without a label before it."""
    found = pieces(text)
    for at, first in enumerate(found):
        label = _is_label(first[0])
        joined: list[str] = []
        for piece in found[at : at + height]:
            joined += piece
            yield _closed(joined)
            if label:
                yield _closed(joined[1:])


def _closed(signs: list[str]) -> str:
    return " ".join(signs).rstrip(" .?!:;,")
