"""Numbers for rows, and a number for all of them."""

import hashlib

import pyarrow as pa

from tools.curate.overlap import words
from tools.curate.result import Result, column
from tools.errors import UserError
from tools.recipe.operators.declared import Fingerprint, Score


def score(rows: pa.Table, seed: int, options: Score) -> Result:
    """All rows, with the column ``score``.

    Args:
        rows: as in ``tools.curate.result``.
        seed: not used.
        options: what is counted or compared.

    Raises:
        UserError: there is no such field.
    """
    own = [words(text) for text in rows.column("completion").to_pylist()]
    if options.by == "length":
        found = [float(len(text)) for text in own]
    else:
        other = column(rows, options.against, "score.against").to_pylist()
        found = [rouge_l(one, words(text or "")) for one, text in zip(own, other, strict=True)]
    left = rows.drop_columns("score") if "score" in rows.column_names else rows
    mean = round(sum(found) / len(found), 4) if found else None
    made = left.append_column("score", pa.array(found, pa.float64()))
    return Result(made, notes={"mean score": mean})


def rouge_l(one: tuple[str, ...], other: tuple[str, ...]) -> float:
    """F1 of the longest common subsequence of two texts (Lin 2004), 0 to 1; by words, unstemmed."""
    if not one or not other:
        return 0.0
    common = _common(one, other)
    return 2 * common / (len(one) + len(other))


def _common(one: tuple[str, ...], other: tuple[str, ...]) -> int:
    """Length of the longest common subsequence, a bit a word (Hyyrö 2004): long texts are quick."""
    places: dict[str, int] = {}
    for at, word in enumerate(one):
        places[word] = places.get(word, 0) | 1 << at
    everything = (1 << len(one)) - 1
    row = everything
    for word in other:
        met = row & places.get(word, 0)
        row = ((row + met) | (row - met)) & everything
    return len(one) - row.bit_count()


def fingerprint(rows: pa.Table, seed: int, options: Fingerprint) -> Result:
    """All rows, and the SHA-256 of their texts.

    Args:
        rows: as in ``tools.curate.result``.
        seed: not used.
        options: what it must begin with.

    Raises:
        UserError: it does not.
    """
    digest = hashlib.sha256()
    for batch in rows.select(["prompt", "completion"]).to_batches(max_chunksize=10_000):
        for pair in zip(*(one.to_pylist() for one in batch.columns), strict=True):
            for text in pair:
                raw = text.encode("utf-8", "surrogatepass")
                digest.update(len(raw).to_bytes(8, "big") + raw)  # "a", "b" is not "ab", ""
    found = digest.hexdigest()
    if not found.startswith(options.expect):
        raise UserError(
            f"fingerprint: the rows are others: {found[:16]}…, and {options.expect} was expected; "
            "find out what changed, or write the new one into expect"
        )
    return Result(rows, notes={"sha256": found})
