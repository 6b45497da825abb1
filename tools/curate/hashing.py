"""Words of many texts at once, as 64-bit hashes, without an object of Python's for each.

A word of the bytes c0 c1 … has the hash sum(L[ci] * B^i) modulo 2^64, mixed, where L is a table of
random numbers and B is odd. A running sum over all texts gives each of them as a difference, times
a power of B's inverse (a prefix hash, as of Karp and Rabin 1987). Two different words have the same
hash with a chance near 2^-64, so who must be certain compares the words of what was found.
"""

import functools
import unicodedata
from collections.abc import Callable, Iterator
from dataclasses import dataclass

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from xxhash import xxh3_64_intdigest

from tools.curate.overlap import words

Array = np.ndarray

_BASE = 0x9E3779B97F4A7C15  # odd, so that it has an inverse
_STEP = 0xD1342543DE82EF95  # odd: the same for sequences of words
_BYTES = 2**17  # at a time: what is made of them stays in the processor's cache
_ROWS = 10_000
_SPACE = np.zeros(256, dtype=bool)
_SPACE[[*range(9, 14), *range(28, 33)]] = True  # what str.split takes for blanks in ASCII
_CLOSING = ".,;:!?'\""  # at a word's end, these part sentences and mean nothing else
_FOLDED = np.array([ord(chr(code).lower()) if code < 128 else code for code in range(256)], "u1")
_BLANK = 32
_BLANKED = np.where(_SPACE, _BLANK, _FOLDED).astype("u1")


@dataclass(frozen=True)
class Rule:
    """How a text is brought to words.

    Attributes:
        plain: the words of a text, parted by one blank; the rule itself.
        keep: the same for many ASCII texts: which bytes stay. Takes them in lower case.
    """

    plain: Callable[[str], str]
    keep: Callable[[Array], Array]


@dataclass(frozen=True)
class Hashes:
    """The words of some texts.

    Attributes:
        words: (words) uint64, those of all texts in a row.
        ends: (texts + 1) int64: text i has the words ``ends[i]`` to ``ends[i + 1]``.
    """

    words: Array
    ends: Array

    @property
    def counts(self) -> Array:
        """(texts) int64, words of each."""
        return np.diff(self.ends)


_LETTER = np.isin(np.arange(256), [c for c in range(128) if chr(c).isalnum()])
_LETTER[128:] = True
_LETTER_OR_SPACE = _LETTER | _SPACE
_MARK = np.isin(np.arange(256), [ord(sign) for sign in _CLOSING])
_CLOSINGS = _CLOSING + "“”‘’…。，！？：；"


def signed(text: str) -> str:
    """A text but for case, blanks and the marks that end words: 3 + 4 is not 3 * 4."""
    folded = (text if text.isascii() else unicodedata.normalize("NFKC", text)).casefold()
    return " ".join(filter(None, (word.rstrip(_CLOSINGS) for word in folded.split())))


def _without_closing(found: Array) -> Array:
    keep = np.ones(len(found), dtype=bool)
    at = np.flatnonzero(_MARK[found])
    if len(at):
        last = np.flatnonzero(np.append(np.diff(at) != 1, True))  # of each run of marks
        closing = _SPACE[found[at[last] + 1]]  # the last byte is a line's end: one always follows
        keep[at] = ~np.repeat(closing, np.diff(np.append(-1, last)))
    return keep


#: Letters and digits alone, as decontamination and near-duplicates compare.
WORDS = Rule(lambda text: " ".join(words(text)), lambda found: _LETTER_OR_SPACE[found])
#: With the signs, as exact duplicates compare.
SIGNED = Rule(signed, _without_closing)


def hashes(texts: list[pa.ChunkedArray], rule: Rule = WORDS) -> Hashes:
    """The words of rows, several columns read as lines of one text.

    Args:
        texts: the columns, of equal length, text without nulls.
        rule: how texts are brought to words.
    """
    found, counts = [], [np.zeros(1, dtype=np.int64)]
    for part in batches(texts):
        for buffer, ends in _buffers(_only_ascii(part, rule)):
            one, count = _hashed(buffer, ends, rule)
            found.append(one)
            counts.append(count)
    joined = np.concatenate(found) if found else np.zeros(0, dtype=np.uint64)
    return Hashes(joined, np.cumsum(np.concatenate(counts)))


def keys(texts: list[pa.ChunkedArray], rule: Rule = WORDS) -> Array:
    """One hash a row of all its words; 0 for a row without any. (rows) uint64

    Three times as quick as ``whole`` of ``hashes``, for no word has one of its own.

    Args:
        texts: the columns, of equal length, text without nulls.
        rule: how texts are brought to words.
    """
    found: list[int] = []
    for part in batches(texts):
        for buffer, ends in _buffers(_only_ascii(part, rule)):
            plain, stops = _plain(buffer, ends, rule)
            view = memoryview(plain.tobytes())
            at = 0
            for stop in stops.tolist():
                found.append(xxh3_64_intdigest(view[at:stop]) if stop > at else 0)
                at = stop
    return np.array(found, dtype=np.uint64)


def _plain(buffer: Array, ends: Array, rule: Rule) -> tuple[Array, Array]:
    """The words of texts, each with one blank behind it, and where those of each text end."""
    folded = _BLANKED[buffer]
    keep = rule.keep(folded)
    kept = folded[keep]
    word = kept != _BLANK
    stays = word.copy()
    stays[1:] |= word[:-1]  # a blank behind a word; every text has one at its end
    # No text is without a byte, for its line end is always kept: reduceat is safe.
    sizes = np.add.reduceat(keep, ends[:-1], dtype=np.int64)
    starts = np.cumsum(sizes) - sizes
    return kept[stays], np.cumsum(np.add.reduceat(stays, starts, dtype=np.int64))


def batches(texts: list[pa.ChunkedArray]) -> Iterator[pa.Array]:
    """Columns as one text a row, 10,000 rows at a time, each ended by a line's end."""
    for start in range(0, len(texts[0]), _ROWS):
        parts = [column.slice(start, _ROWS).cast(pa.large_string()) for column in texts]
        empty = pa.scalar("", pa.large_string())
        end = pa.scalar("\n", pa.large_string())
        joined = pc.binary_join_element_wise(*parts, empty, end)
        yield joined.combine_chunks() if isinstance(joined, pa.ChunkedArray) else joined


def _only_ascii(texts: pa.Array, rule: Rule) -> pa.Array:
    """The texts, those that are not ASCII in the words that the rule makes of them."""
    plain = pc.string_is_ascii(texts)
    if pc.all(plain).as_py():
        return texts
    other = pc.invert(plain)
    made = [f"{rule.plain(text)}\n" for text in texts.filter(other).to_pylist()]
    return pc.replace_with_mask(texts, other, pa.array(made, pa.large_string()))


def _buffers(texts: pa.Array) -> Iterator[tuple[Array, Array]]:
    """The bytes of some texts at a time, and where each of them ends there."""
    offsets = np.frombuffer(texts.buffers()[1], dtype=np.int64)
    offsets = offsets[texts.offset : texts.offset + len(texts) + 1]
    data = np.frombuffer(texts.buffers()[2], dtype=np.uint8)
    first = 0
    while first < len(texts):
        last = int(np.searchsorted(offsets, offsets[first] + _BYTES, side="right")) - 1
        last = min(max(last, first + 1), len(texts))
        ends = offsets[first : last + 1]
        yield data[ends[0] : ends[-1]], ends - ends[0]
        first = last


def _hashed(buffer: Array, ends: Array, rule: Rule) -> tuple[Array, Array]:
    """The hash of every word in some bytes, and how many each text has."""
    folded = _FOLDED[buffer]
    keep = rule.keep(folded)
    kept = folded[keep]
    before = np.zeros(len(folded) + 1, dtype=np.int64)
    np.cumsum(keep, out=before[1:])
    blank = np.ones(len(kept) + 1, dtype=bool)  # one before the first, as if a text had ended
    blank[1:] = _SPACE[kept]
    starts = np.flatnonzero(blank[:-1] & ~blank[1:])
    stops = np.flatnonzero(~blank[:-1] & blank[1:])
    powers, inverse = _powers(len(kept) + 1)
    sums = np.zeros(len(kept) + 1, dtype=np.uint64)
    np.cumsum(_table()[kept] * powers[: len(kept)], out=sums[1:])
    found = mixed((sums[stops] - sums[starts]) * inverse[starts])
    return found, np.diff(np.searchsorted(starts, before[ends]))


@functools.cache
def _table() -> Array:
    return np.random.default_rng(11).integers(2**64, size=256, dtype=np.uint64)


_POWERS: list[tuple[Array, Array]] = []


def _powers(count: int) -> tuple[Array, Array]:
    """At least so many powers of the base and of its inverse, modulo 2^64."""
    if count > _BYTES + 1:  # one text of megabytes; not worth keeping
        return _power(_BASE, count), _power(pow(_BASE, -1, 2**64), count)
    if not _POWERS:
        _POWERS.append((_power(_BASE, _BYTES + 1), _power(pow(_BASE, -1, 2**64), _BYTES + 1)))
    return _POWERS[0]


def _power(base: int, size: int) -> Array:
    found = np.full(size, base, dtype=np.uint64)
    found[0] = 1
    return np.multiply.accumulate(found)


def mixed(values: Array) -> Array:
    """Every bit of the result depends on every bit of a value (MurmurHash3's finalizer)."""
    for factor in (0xFF51AFD7ED558CCD, 0xC4CEB9FE1A85EC53):
        values = (values ^ (values >> np.uint64(33))) * np.uint64(factor)
    return values ^ (values >> np.uint64(33))


def grams(found: Hashes, size: int) -> tuple[Array, Array]:
    """The hash of every run of so many words, and at which word it begins.

    Args:
        found: words of texts; no run goes from one text into the next.
        size: words in a run, at least 1.

    Returns:
        Both (runs): uint64 and int64.
    """
    last = np.repeat(found.ends[1:] - size, found.counts)
    at = np.flatnonzero(np.arange(len(found.words)) <= last)
    return runs(found.words, at, size), at


def runs(words_: Array, at: Array, size: int) -> Array:
    """The hash of the run of ``size`` words at each of some places, (places) uint64."""
    total = words_[at]
    for step in range(1, size):
        total = total * np.uint64(_STEP) + words_[at + step]
    return mixed(total + np.uint64(size))


def whole(found: Hashes) -> Array:
    """One hash a text, of all its words in their order; 0 for a text without any. (texts) uint64"""
    made = np.zeros(len(found.counts), dtype=np.uint64)
    powers = _power(_STEP, int(found.counts.max(initial=0)) + 1)
    for first in range(0, len(made), _ROWS):
        ends = found.ends[first : first + _ROWS + 1]
        counts = np.diff(ends)
        place = np.arange(ends[0], ends[-1]) - np.repeat(ends[:-1], counts)
        terms = found.words[ends[0] : ends[-1]] * powers[place]
        some = counts > 0  # reduceat gives an empty part its neighbour's first term
        if some.any():
            sums = np.add.reduceat(terms, (ends[:-1] - ends[0])[some])
            made[first : first + _ROWS][some] = mixed(sums + counts[some].astype(np.uint64))
    return made


def expand(starts: Array, counts: Array) -> Array:
    """``starts[i]``, ``starts[i] + 1``, … so many of each, one behind the other."""
    ends = np.cumsum(counts)
    steps = np.arange(ends[-1] if len(ends) else 0)
    return steps + np.repeat(starts - (ends - counts), counts)
