"""Which rows hold which evaluation questions: ``tools.curate.overlap``'s rule, for many at once.

``Overlap`` goes by the words themselves, a row after the other, and tells the row that shares most
of one question. Here words are hashes and rows come in batches, and every row that holds a question
is told. What counts, hashes being hashes, is looked at again in the words.
"""

from collections import defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import pyarrow as pa

from tools.curate.hashing import Array, Hashes, batches, expand, grams, hashes, runs, whole
from tools.curate.overlap import COMMON, DIRTY, GRAM, SHORT, candidates, line, pieces, words

_ROWS = 10_000


@dataclass(frozen=True)
class Match:
    """A row and a question that it shares something with.

    Attributes:
        row: its number.
        question: the question's number.
        share: of the question's words, boilerplate apart, 0 to 1; 1 for the whole question.
    """

    row: int
    question: int
    share: float

    @property
    def contaminated(self) -> bool:
        """Whether the row holds the question, rather than some words that it shares."""
        return self.share >= DIRTY


class Search:
    """Finds questions in rows.

    Args:
        questions: their texts; of several that are the same but for case and punctuation, matches
            name the first.
    """

    def __init__(self, questions: Sequence[str]) -> None:
        self._texts = list(questions)
        found = hashes([pa.chunked_array([pa.array(self._texts, pa.string())])])
        first = np.zeros(len(self._texts), dtype=bool)
        first[np.unique(whole(found), return_index=True)[1]] = True
        self._long = _Grams(found, first & (found.counts >= GRAM))
        self._starts = _Starts(found, first & (found.counts >= SHORT) & (found.counts < GRAM))
        self._lines = _Lines(self._texts, found)
        self._rows_of = np.zeros(len(self._long.known), dtype=np.int64)
        self._shared: list[tuple[Array, Array]] = []  # rows and grams, boilerplate apart
        self._whole: set[tuple[int, int]] = set()
        self._seen = 0

    def scan(self, texts: list[pa.ChunkedArray]) -> None:
        """Look rows through.

        Args:
            texts: columns, read as lines of one text; their rows are numbered on from those before.
        """
        for start, batch in zip(range(0, len(texts[0]), _ROWS), batches(texts), strict=True):
            found = hashes([text.slice(start, _ROWS) for text in texts])
            self._scan(found, batch)
            self._seen += len(batch)

    def _scan(self, found: Hashes, batch: pa.Array) -> None:
        likely: set[tuple[int, int]] = set()  # row of the batch and question
        gram, row, at = self._long.find(found)
        self._note(gram, row)
        likely.update(self._long.probed(gram, row, at))
        likely.update(self._starts.find(found))
        by_row = defaultdict(list)
        for number, question in likely:
            by_row[number].append(question)
        for number, questions in by_row.items():
            own = " ".join(words(batch[number].as_py()))
            for question in questions:
                if f" {' '.join(words(self._texts[question]))} " in f" {own} ":
                    self._whole.add((self._seen + number, question))
        for number in self._lines.likely(found):
            for question in self._lines.find(batch[number].as_py()):
                self._whole.add((self._seen + number, question))

    def _note(self, gram: Array, row: Array) -> None:
        """Remember which rows have a gram, until it is boilerplate."""
        keys = np.unique((row.astype(np.uint64) << np.uint64(32)) | gram.astype(np.uint64))
        gram = (keys & np.uint64(0xFFFFFFFF)).astype(np.int64)
        row = (keys >> np.uint64(32)).astype(np.int64) + self._seen
        rare = (self._rows_of[gram] <= COMMON) & (self._long.uses[gram] <= COMMON)
        self._shared.append((row[rare], gram[rare]))
        self._rows_of += np.bincount(gram, minlength=len(self._rows_of))

    def matches(self) -> list[Match]:
        """What was found in the rows looked through so far, by row, the surest question first."""
        found = {pair: 1.0 for pair in self._whole}
        for row, question, share in self._parts():
            found.setdefault((row, question), share)
        made = [Match(row, question, share) for (row, question), share in found.items()]
        return sorted(made, key=lambda one: (one.row, -one.share, one.question))

    def _parts(self) -> Iterator[tuple[int, int, float]]:
        """Rows that share grams with long questions."""
        if not self._shared:
            return
        row, gram = (np.concatenate([pair[side] for pair in self._shared]) for side in (0, 1))
        rare = self._rows_of <= COMMON
        row, gram = row[rare[gram]], gram[rare[gram]]
        question, offset, source = self._long.places(gram)
        row = row[source]
        covered = _covered(row * len(self._texts) + question, offset)
        own = self._long.own(np.unique(question), rare)
        for key, words_ in zip(*covered, strict=True):
            number, which = divmod(int(key), len(self._texts))
            yield number, which, int(words_) / own[which]


def _covered(key: Array, offset: Array) -> tuple[Array, Array]:
    """By key, how many places the grams that begin at some offsets cover: keys, places."""
    order = np.lexsort((offset, key))
    key, offset = key[order], offset[order]
    same = key[1:] == key[:-1]
    step = np.where(same, np.minimum(offset[1:] - offset[:-1], GRAM), GRAM)
    step = np.append(step, GRAM)[: len(key)]
    keys, first = np.unique(key, return_index=True)
    return keys, np.add.reduceat(step, first) if len(first) else step


class _Filter:
    """Tells quickly of most hashes that they are not among some known ones.

    Args:
        known: (hashes) uint64.
    """

    def __init__(self, known: Array) -> None:
        bits = min(max(int(len(known) * 16).bit_length(), 12), 27)
        self._shift = np.uint64(64 - bits)
        self._cells = np.zeros(2**bits, dtype=bool)
        self._cells[known >> self._shift] = True

    def likely(self, found: Array) -> Array:
        """Places of the hashes that may be known."""
        return np.flatnonzero(self._cells[found >> self._shift])


class _Known:
    """Sorted hashes, and where some found ones are among them."""

    def __init__(self, known: Array) -> None:
        self.known = known
        self._filter = _Filter(known)

    def look(self, found: Array) -> tuple[Array, Array]:
        """Places of those found that are known, and which each is."""
        if not len(self.known):
            return np.zeros(0, dtype=np.int64), np.zeros(0, dtype=np.int64)
        places = self._filter.likely(found)
        which = np.searchsorted(self.known, found[places])
        which = np.minimum(which, len(self.known) - 1)
        sure = self.known[which] == found[places]
        return places[sure], which[sure]


def _owner(ends: Array, at: Array) -> Array:
    return np.searchsorted(ends, at, side="right") - 1


class _Grams:
    """The 13-grams of long questions.

    Args:
        found: words of all questions.
        chosen: (questions) bool, those that count here.

    Attributes:
        known: (grams) uint64, sorted.
        uses: (grams) int64, questions that have each.
    """

    def __init__(self, found: Hashes, chosen: Array) -> None:
        made, at = grams(found, GRAM)
        owner = _owner(found.ends, at)
        these = chosen[owner]
        made, owner, at = made[these], owner[these], at[these]
        order = np.argsort(made, kind="stable")
        made = made[order]
        self._question, self._offset = owner[order], at[order] - found.ends[owner[order]]
        first = np.flatnonzero(np.append(True, made[1:] != made[:-1])[: len(made)])
        self._table = _Known(made[first])
        self.known = self._table.known
        self._first, self._count = first, np.diff(np.append(first, len(made)))
        again = self._question[1:] == self._question[:-1]
        different = ~np.append(False, again)[: len(made)]
        different[first] = True  # a gram twice in a question is one use of it
        self.uses = np.add.reduceat(different.astype(np.int64), first) if len(first) else first
        self._gram_of = np.repeat(np.arange(len(first)), self._count)
        self._probes = self._rarest()

    def _rarest(self) -> Array:
        """Which entries are the probe of their question: the gram that the fewest others have."""
        order = np.lexsort((self._offset, self.uses[self._gram_of], self._question))
        question = self._question[order]
        probes = np.zeros(len(order), dtype=bool)
        probes[order[np.append(True, question[1:] != question[:-1])[: len(order)]]] = True
        return probes

    def find(self, found: Hashes) -> tuple[Array, Array, Array]:
        """The grams in some rows: which, in which row, at which word of all."""
        made, at = grams(found, GRAM)
        places, gram = self._table.look(made)
        return gram, _owner(found.ends, at[places]), at[places]

    def probed(self, gram: Array, row: Array, at: Array) -> set[tuple[int, int]]:
        """Rows that may hold a whole question, with it: they have its rarest gram."""
        question, offset, source = self.places(gram, self._probes)
        begun = at[source] >= offset
        pairs = zip(row[source][begun].tolist(), question[begun].tolist(), strict=True)
        return set(pairs)

    def places(self, gram: Array, chosen: Array | None = None) -> tuple[Array, Array, Array]:
        """Where questions have some grams: the question, its word, and which of the grams it is."""
        entry = expand(self._first[gram], self._count[gram])
        source = np.repeat(np.arange(len(gram)), self._count[gram])
        if chosen is not None:
            these = chosen[entry]
            entry, source = entry[these], source[these]
        return self._question[entry], self._offset[entry], source

    def own(self, questions: Array, rare: Array) -> dict[int, int]:
        """How many words of some questions stand in grams that are no boilerplate.

        Args:
            questions: their numbers.
            rare: (grams) bool, those that few rows have.
        """
        counts = (rare & (self.uses <= COMMON))[self._gram_of] & np.isin(self._question, questions)
        keys, covered = _covered(self._question[counts], self._offset[counts])
        return dict(zip(keys.tolist(), covered.tolist(), strict=True))


class _Starts:
    """The first eight words of questions that are too short for a gram.

    Args:
        found: words of all questions.
        chosen: (questions) bool, those that count here.
    """

    def __init__(self, found: Hashes, chosen: Array) -> None:
        numbers = np.flatnonzero(chosen)
        made = runs(found.words, found.ends[:-1][numbers], SHORT)
        order = np.argsort(made, kind="stable")
        made, self._question = made[order], numbers[order]
        self._first = np.flatnonzero(np.append(True, made[1:] != made[:-1])[: len(made)])
        self._count = np.diff(np.append(self._first, len(made)))
        self._table = _Known(made[self._first])

    def find(self, found: Hashes) -> set[tuple[int, int]]:
        """Rows that may hold a whole question, with it."""
        if not len(self._question):
            return set()
        made, at = grams(found, SHORT)
        places, which = self._table.look(made)
        entry = expand(self._first[which], self._count[which])
        row = np.repeat(_owner(found.ends, at[places]), self._count[which])
        return set(zip(row.tolist(), self._question[entry].tolist(), strict=True))


class _Lines:
    """Questions of few words, which must stand on a line of their own.

    Args:
        texts: all questions.
        found: their words.
    """

    def __init__(self, texts: Sequence[str], found: Hashes) -> None:
        self._lines: dict[str, int] = {}
        self._height = 1
        sizes: dict[int, list[int]] = defaultdict(list)
        for number in np.flatnonzero(found.counts < SHORT).tolist():
            key = line(texts[number])
            if key and key not in self._lines:
                self._lines[key] = number
                self._height = max(self._height, len(pieces(texts[number])))
                sizes[int(found.counts[number])].append(number)
        # A sign has no words to look for: then every row must be read.
        self._all = bool(sizes.pop(0, []))
        self._tables = {
            size: _Known(np.unique(runs(found.words, found.ends[:-1][numbers], size)))
            for size, numbers in sizes.items()
        }

    def likely(self, found: Hashes) -> list[int]:
        """Rows that have the words of a question, one behind the other."""
        if self._all:
            return list(range(len(found.counts)))
        rows = [np.zeros(0, dtype=np.int64)]
        for size, table in self._tables.items():
            made, at = grams(found, size)
            rows.append(_owner(found.ends, at[table.look(made)[0]]))
        return np.unique(np.concatenate(rows)).tolist()

    def find(self, text: str) -> set[int]:
        """The questions that a row has on lines of their own."""
        return {self._lines[key] for key in candidates(text, self._height) if key in self._lines}
