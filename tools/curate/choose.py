"""Operators that choose rows by what is in them, or by the seed."""

import functools
import hashlib
import random
import re
from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator
from fnmatch import fnmatchcase
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from tools.curate.hashing import signed
from tools.curate.language import language
from tools.curate.result import Result, column, kept
from tools.errors import UserError
from tools.recipe.operators.declared import Allow, Deny, Filter, Intersect, Sample, Split, opened


def allow(rows: pa.Table, seed: int, options: Allow) -> Result:
    """Rows whose field has one of the values stay.

    Args:
        rows: as in ``tools.curate.result``.
        seed: not used.
        options: field and values.

    Raises:
        UserError: there is no such field.
    """
    fits = _fitting(column(rows, options.column, "allow.column"), options.values)
    return kept(rows, {f"{options.column} is not allowed": np.flatnonzero(~fits)})


def deny(rows: pa.Table, seed: int, options: Deny) -> Result:
    """Rows whose field has one of the values leave.

    Args:
        rows: as in ``tools.curate.result``.
        seed: not used.
        options: field and values.

    Raises:
        UserError: there is no such field.
    """
    fits = _fitting(column(rows, options.column, "deny.column"), options.values)
    return kept(rows, {f"{options.column} is denied": np.flatnonzero(fits)})


def _fitting(values: pa.ChunkedArray, patterns: list[str]) -> np.ndarray:
    """(rows) bool: whether a pattern fits. Fields have few values, so each is tried once."""
    fits = [
        value
        for value in pc.unique(values).to_pylist()
        if any(fnmatchcase("" if value is None else value, one) for one in patterns)
    ]
    found = pc.is_in(values, pa.array(fits, values.type))
    return np.asarray(found.combine_chunks().to_numpy(zero_copy_only=False))


def intersect(rows: pa.Table, seed: int, options: Intersect) -> Result:
    """Rows whose field is a line of a file stay.

    Args:
        rows: as in ``tools.curate.result``.
        seed: not used.
        options: field and file.

    Raises:
        UserError: there is no such field, or the file cannot be read.
    """
    values = column(rows, options.column, "intersect.column")
    try:
        path = Path(options.file)
        lines = _lines(path, path.stat().st_mtime_ns)
    except (OSError, UnicodeDecodeError) as error:
        raise UserError(f"intersect.file: {options.file}: cannot be read ({error})") from None
    found = pc.is_in(values, lines.cast(values.type)).combine_chunks()
    gone = np.flatnonzero(~np.asarray(found.to_numpy(zero_copy_only=False)))
    return kept(rows, {f"{options.column} is not in {Path(options.file).name}": gone})


@functools.lru_cache(maxsize=2)  # rows come in batches
def _lines(path: Path, written: int) -> pa.Array:
    lines = path.read_text(encoding="utf-8").splitlines()
    return pa.array(sorted(set(lines)), pa.string())


def filter_(rows: pa.Table, seed: int, options: Filter) -> Result:
    """Rows within all bounds stay.

    Args:
        rows: as in ``tools.curate.result``.
        seed: not used.
        options: the bounds.

    Raises:
        UserError: the tokenizer cannot be read.
    """
    bounds = list(_bounds(options))
    reasons: dict[str, list[int]] = {}
    for number, text in enumerate(_texts(rows, options.column)):
        why = next((why for why, fits in bounds if not fits(text)), None)
        if why:
            reasons.setdefault(why, []).append(number)
    return kept(rows, reasons)


def _texts(rows: pa.Table, part: str) -> Iterator[str]:
    names = ["prompt", "completion"] if part == "both" else [part]
    for batch in rows.select(names).to_batches(max_chunksize=10_000):
        lists = [batch.column(name).to_pylist() for name in names]
        yield from ("".join(texts) for texts in zip(*lists, strict=True))


def _bounds(options: Filter) -> Iterator[tuple[str, Callable[[str], bool]]]:
    """Why a row leaves, and what one that stays fulfils."""
    units: dict[str, Callable[[str], int]] = {
        "words": lambda text: len(text.split()),
        "characters": len,
        "tokens": _counter(options.tokenizer),
    }
    for unit, count in units.items():
        least, most = getattr(options, f"min_{unit}"), getattr(options, f"max_{unit}")
        if least or most:
            yield from _sizes(unit, count, least, most)
    if options.matches:
        matches = re.compile(options.matches)
        yield f"{options.matches!r} not found", lambda text: matches.search(text) is not None
    if options.lacks:
        lacks = re.compile(options.lacks)
        yield f"{options.lacks!r} found", lambda text: lacks.search(text) is None
    if options.language:
        wanted = ("", options.language)
        yield f"language not {options.language}", lambda text: language(text) in wanted


def _sizes(
    unit: str, count: Callable[[str], int], least: int, most: int
) -> Iterator[tuple[str, Callable[[str], bool]]]:
    if least:
        yield f"fewer than {least} {unit}", lambda text: count(text) >= least
    if most:
        yield f"more than {most} {unit}", lambda text: count(text) <= most


def _counter(tokenizer: str) -> Callable[[str], int]:
    """Counts the tokens of a text, with a tokenizer's file."""
    if not tokenizer:
        return len
    path = opened(Path(tokenizer))
    try:
        loaded = _tokenizer(path, path.stat().st_mtime_ns)
    except Exception as error:
        # The library raises a bare Exception for whatever it cannot read.
        raise UserError(f"filter.tokenizer: {path}: no tokenizer ({error})") from None
    return lambda text: len(loaded.encode(text, add_special_tokens=False).ids)


@functools.lru_cache(maxsize=1)  # rows come in batches
def _tokenizer(path: Path, written: int) -> Any:
    from tokenizers import Tokenizer

    return Tokenizer.from_file(str(path))


def sample(rows: pa.Table, seed: int, options: Sample) -> Result:
    """Some of the rows stay, in their order.

    Args:
        rows: as in ``tools.curate.result``.
        seed: of the draw.
        options: how many, of which.

    Raises:
        UserError: a field or score that is needed is not there.
    """
    numbers = list(range(rows.num_rows))
    reasons: dict[str, list[int]] = {}
    if options.below is not None:
        scores = _scores(rows)
        high = [n for n in numbers if not scores[n] < options.below]
        reasons[f"score not below {options.below:g}"] = high
        gone = set(high)
        numbers = [n for n in numbers if n not in gone]
    if options.n or options.share:
        chosen = set(_drawn(rows, numbers, seed, options))
        reasons["not sampled"] = [n for n in numbers if n not in chosen]
    return kept(rows, reasons)


def _drawn(rows: pa.Table, numbers: list[int], seed: int, options: Sample) -> Iterable[int]:
    """Which of the rows stay: from each bucket as many, as far as there are."""
    if options.order == "random":
        order = random.Random(seed).sample(numbers, len(numbers))
    else:
        sign = -1 if options.order == "highest" else 1
        scores = _scores(rows)
        order = sorted(numbers, key=lambda n: sign * scores[n])
    wanted = min(options.n or round(options.share * len(numbers)), len(numbers))
    if not options.by:
        return order[:wanted]
    values = column(rows, options.by, "sample.by").to_pylist()
    buckets: dict[str, list[int]] = defaultdict(list)
    for number in order:
        buckets[values[number]].append(number)
    # Small buckets are taken whole; what they lack the others give.
    chosen: list[int] = []
    for left, bucket in zip(
        range(len(buckets), 0, -1), sorted(buckets.values(), key=len), strict=True
    ):
        chosen += bucket[: -(-(wanted - len(chosen)) // left)]
    return chosen[:wanted]


def _scores(rows: pa.Table) -> list[float]:
    if "score" not in rows.column_names:
        raise UserError("sample: the rows have no score; put the operator score before it")
    return rows.column("score").to_pylist()


def split(rows: pa.Table, seed: int, options: Split) -> Result:
    """Rows whose prompts lie in a part of all prompts that could be.

    Args:
        rows: as in ``tools.curate.result``.
        seed: not used: the part is the same in every recipe.
        options: from where to where.
    """
    places = [_place(text) for text in _texts(rows, "prompt")]
    gone = [n for n, place in enumerate(places) if not options.start <= place < options.stop]
    return kept(rows, {f"outside {options.start:g} to {options.stop:g} of the split": gone})


def _place(prompt: str) -> float:
    """Where a prompt lies, 0 to below 1; the same whatever its case and blanks."""
    digest = hashlib.sha256(signed(prompt).encode("utf-8", "surrogatepass")).digest()
    return int.from_bytes(digest[:6], "big") / 2**48
