"""Near-duplicates: rows that share most of their word n-grams, by an exact join."""

import numpy as np
import pyarrow as pa

from tools.curate.exact import COLUMNS
from tools.curate.hashing import Array, Hashes, expand, grams, hashes, runs
from tools.curate.join import Alike, alike
from tools.curate.result import Result, examples, kept
from tools.recipe.operators.declared import NearDedup

WHY = "near-duplicate"
_ROWS = 10_000


def near_dedup(rows: pa.Table, seed: int, options: NearDedup) -> Result:
    """Of rows that are nearly the same, one stays.

    A row leaves only when a twin of it stays: of a chain of twins that grow ever less alike, ends
    that are no twins themselves both stay.

    Args:
        rows: as in ``tools.curate.result``.
        seed: not used.
        options: grams, threshold, which texts, which row stays.
    """
    texts = [rows.column(name) for name in COLUMNS[options.by]]
    members, ends = shingles(texts, options.ngram)
    order = np.arange(rows.num_rows)
    if options.keep == "longest":
        order = np.lexsort((order, -np.diff(ends)))
        members, ends = _arranged(members, ends, order)
    pairs = alike(members, ends, options.threshold)
    twins = _leaving(pairs)
    told = {int(order[row]): (int(order[twin]), share) for row, (twin, share) in twins.items()}
    gone = sorted(told)
    result = kept(rows, {WHY: gone})
    return Result(result.rows, result.left, examples=examples(rows, _told(rows, gone, told)))


def _told(
    rows: pa.Table, gone: list[int], twins: dict[int, tuple[int, float]]
) -> list[tuple[int, str]]:
    places = rows.column("place")
    return [
        (number, f"{twins[number][1]:.2f} alike with {places[twins[number][0]].as_py()}")
        for number in gone[:3]
    ]


def _leaving(pairs: Alike) -> dict[int, tuple[int, float]]:
    """Rows that leave, each with a twin that stays and how alike they are; earlier rows stay."""
    gone: dict[int, tuple[int, float]] = {}
    stands_for: dict[int, int] = {}  # equal rows are paired with the first of them alone
    for one, other, share in zip(
        pairs.one.tolist(), pairs.other.tolist(), pairs.share.tolist(), strict=True
    ):
        if share == 1.0:
            stands_for[other] = one
        if other not in gone and one not in gone:
            gone[other] = (one, share)
    for row, first in stands_for.items():
        if first in gone:
            gone[row] = gone[first]
    return gone


def shingles(texts: list[pa.ChunkedArray], size: int) -> tuple[Array, Array]:
    """The word n-grams of rows, hashed; a row of fewer words has them all as its one.

    Args:
        texts: columns, read as lines of one text.
        size: words in a gram.

    Returns:
        (grams) uint64, and (rows + 1) int64 where each row's end.
    """
    found, counts = [], []
    for start in range(0, len(texts[0]), _ROWS):
        one, count = _shingles(hashes([text.slice(start, _ROWS) for text in texts]), size)
        found.append(one)
        counts.append(count)
    members = np.concatenate(found) if found else np.zeros(0, dtype=np.uint64)
    return members, np.append(0, np.cumsum(np.concatenate(counts))) if counts else np.zeros(1, int)


def _shingles(found: Hashes, size: int) -> tuple[Array, Array]:
    made, _ = grams(found, size)
    counts = np.maximum(found.counts - size + 1, 0)
    short = np.flatnonzero((found.counts > 0) & (found.counts < size))
    if len(short):
        one = _whole_short(found, short)
        # Behind the grams of the rows before them; those rows have none of their own.
        made = np.insert(made, np.append(0, np.cumsum(counts))[short], one)
        counts[short] = 1
    return made, counts


def _whole_short(found: Hashes, short: Array) -> Array:
    made = np.zeros(len(short), dtype=np.uint64)
    for count in np.unique(found.counts[short]):
        these = found.counts[short] == count
        made[these] = runs(found.words, found.ends[:-1][short[these]], int(count))
    return made


def _arranged(members: Array, ends: Array, order: Array) -> tuple[Array, Array]:
    """The sets in another order."""
    counts = np.diff(ends)[order]
    return members[expand(ends[:-1][order], counts)], np.append(0, np.cumsum(counts))
