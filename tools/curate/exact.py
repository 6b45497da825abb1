"""Exact duplicates: the same text but for case, blanks and the marks that end words."""

from collections import defaultdict
from collections.abc import Iterator

import numpy as np
import pyarrow as pa

from tools.curate.hashing import SIGNED, Array, hashes, keys
from tools.curate.result import Result, examples, kept
from tools.recipe.operators.declared import Dedup

COLUMNS = {"prompt": ("prompt",), "completion": ("completion",), "both": ("prompt", "completion")}
WHY = {
    "prompt": "same prompt",
    "completion": "same completion",
    "both": "same prompt and completion",
}


def dedup(rows: pa.Table, seed: int, options: Dedup) -> Result:
    """Of rows that say the same, one stays.

    Args:
        rows: as in ``tools.curate.result``.
        seed: not used.
        options: what is compared, and which row stays.

    Returns:
        The rows that stay; of each group one, never none. Rows without any word are no duplicates.
    """
    by = "both" if options.keep == "all_answers" else options.by
    texts = [rows.column(name) for name in COLUMNS[by]]
    twins: dict[int, int] = {}
    order = _order(rows, options.keep)
    for group in _groups(texts):
        first = min(group, key=lambda number: order[number])
        twins.update((number, first) for number in group if number != first)
    gone = sorted(twins)
    result = kept(rows, {WHY[by]: gone})
    told = [(number, f"{WHY[by]} as {_place(rows, twins[number])}") for number in gone[:3]]
    return Result(result.rows, result.left, examples=examples(rows, told))


def _place(rows: pa.Table, number: int) -> str:
    return str(rows.column("place")[number].as_py())


def _order(rows: pa.Table, keep: str) -> Array:
    """A rank of each row: of a group the lowest stays. (rows) int64"""
    if keep != "best":
        return np.arange(rows.num_rows)
    if "score" in rows.column_names:
        worth = np.asarray(rows.column("score").to_numpy(), dtype=np.float64)
    else:
        worth = hashes([rows.column("completion")]).counts.astype(np.float64)
    ranks = np.empty(rows.num_rows, dtype=np.int64)
    ranks[np.argsort(-worth, kind="stable")] = np.arange(rows.num_rows)
    return ranks


def _groups(texts: list[pa.ChunkedArray]) -> Iterator[list[int]]:
    """Numbers of the rows that say the same, two or more, lowest first."""
    found = keys(texts, SIGNED)
    order = np.argsort(found, kind="stable")
    ordered = found[order]
    same = (ordered[1:] == ordered[:-1]) & (ordered[1:] > 0)
    twin = np.append(False, same) | np.append(same, False) if len(found) else order
    numbers = order[np.flatnonzero(twin)]
    taken = pa.array(numbers, pa.int64())
    lines = zip(*(column.take(taken).to_pylist() for column in texts), strict=True)
    groups: dict[tuple[int, str], list[int]] = defaultdict(list)
    for key, number, line in zip(found[numbers].tolist(), numbers.tolist(), lines, strict=True):
        groups[key, SIGNED.plain("\n".join(line))].append(number)  # one hash may be of two texts
    yield from (group for group in groups.values() if len(group) > 1)
