"""Numbers for rows, and a number for all of them."""

import hashlib
import re
from collections.abc import Callable, Sequence

import pyarrow as pa

from tools.curate.overlap import words
from tools.curate.result import Result, column
from tools.errors import UserError
from tools.recipe.operators.declared import Fingerprint, Score

#: What the base model answers to prompts whose completions are so.
Answers = Callable[[Sequence[str], Sequence[str]], Sequence[str]]

_LETTER = re.compile(r"\(?([A-J])\)?\.?")
_NUMBER = re.compile(r"-?\d[\d,]*(?:\.\d+)?")
_FEW_WORDS = 8  # an answer of more is judged by its words, not as a whole


def score(rows: pa.Table, seed: int, options: Score, answers: Answers | None = None) -> Result:
    """All rows, with the column ``score``.

    Args:
        rows: as in ``tools.curate.result``.
        seed: not used.
        options: what is counted or compared.
        answers: the base model's, where they are asked for.

    Raises:
        UserError: there is no such field, or nobody who answers.
    """
    completions = rows.column("completion").to_pylist()
    own = [words(text) for text in completions]
    if options.by == "length":
        found = [float(len(text)) for text in own]
    elif options.by == "base":
        if answers is None:
            raise UserError("score.by: base: no base model answers here; run `make data`")
        said = answers(rows.column("prompt").to_pylist(), completions)
        found = [match(one, other) for one, other in zip(completions, said, strict=True)]
    else:
        other = column(rows, options.against, "score.against").to_pylist()
        found = [rouge_l(one, words(text or "")) for one, text in zip(own, other, strict=True)]
    left = rows.drop_columns("score") if "score" in rows.column_names else rows
    mean = round(sum(found) / len(found), 4) if found else None
    made = left.append_column("score", pa.array(found, pa.float64()))
    return Result(made, notes={"mean score": mean})


def match(wanted: str, answer: str) -> float:
    """How right an answer is, 0 to 1, by the kind of what was wanted.

    Args:
        wanted: the row's completion.
        answer: the model's.
    """
    text = wanted.strip()
    if letter := _LETTER.fullmatch(text):
        found = re.search(r"\b[A-J]\b", answer)
        return float(found is not None and found[0] == letter[1])
    if _NUMBER.fullmatch(text):
        numbers = [one.replace(",", "") for one in _NUMBER.findall(answer)]
        return float(bool(numbers) and float(numbers[-1]) == float(text.replace(",", "")))
    if "\n" not in text and len(text.split()) <= _FEW_WORDS:
        return float(words(text) == words(answer))
    return rouge_l(words(text), words(answer))


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
