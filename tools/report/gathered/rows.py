"""The data part: where the rows come from, what became of them, how long they are."""

import json
import math
import statistics
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from tools.console import bar
from tools.data import tokens
from tools.errors import UserError
from tools.report.gathered.source import Part, Source
from tools.report.scale import step_of
from tools.run.folder import Run

BINS = 30  # of the histogram, at most
LONG = 2**26  # bytes; fewer are read before a bar would be seen


def data(source: Source) -> Part:
    """Counts by source and by split, and a histogram of training rows' lengths.

    Raises:
        Missing: no rows were made yet.
    """
    record = source.record("data", "no rows were made yet")
    metrics = record["metrics"]
    names = ("train", "validation", "test", "shots")
    questions = {name: metrics.get(f"{name}_questions") for name in names}
    questions = {name: count for name, count in questions.items() if count is not None}
    return {
        "sources": _sources(source.run, metrics),
        "read": _total(metrics.get("read")),
        "kept": sum(questions.values()),
        "questions": questions,
        "train_rows": metrics["train_rows"],
        "validation_rows": metrics["validation_rows"],
        "lengths": _lengths(source.run),
    }


def _sources(run: Run, metrics: dict[str, Any]) -> list[dict[str, Any]]:
    """Each source with its licence and what was taken from it to train on."""
    read = metrics.get("read")
    return [
        {
            "name": name,
            "kind": source.kind,
            "path": source.path,
            "licence": source.licence,
            "origin": source.origin,
            "read": read.get(name) if isinstance(read, dict) else None,
            "trained_on": metrics["by_source"].get(name),
        }
        for name, source in run.recipe.data.sources.items()
    ]


def _total(read: Any) -> int | None:
    """Rows read from all sources; None where the data stage did not say."""
    return sum(read.values()) if isinstance(read, dict) else read


def _lengths(run: Run) -> Part | None:
    """The histogram of the tokenized training rows; None before ``make train`` wrote them."""
    try:
        file = tokens.paths(run)["train"]
    except UserError:  # a source file is gone, so its rows cannot be told from others
        return None
    if not file.is_file():
        return None
    found = sorted(_counted(file))
    limit = run.recipe.train.get("sequence_len")
    over = sum(length > limit for length in found) if limit else 0
    return {**histogram(found), "limit": limit, "over": over} if found else None


def _counted(file: Path) -> Iterator[int]:
    """Tokens of each row."""
    size = file.stat().st_size
    progress = bar(size, "row lengths", "B") if size > LONG else None
    with file.open(encoding="utf-8") as lines:
        for line in lines:
            yield len(json.loads(line)["input_ids"])
            if progress:
                progress.update(len(line))
    if progress:
        progress.close()


def histogram(lengths: Sequence[int]) -> Part:
    """Counts in bins of one round width from 0 on, and the usual quantiles.

    Args:
        lengths: tokens of each row, sorted, not empty.
    """
    width = max(1, round(step_of(lengths[-1] + 1, BINS)))
    counts = [0] * (lengths[-1] // width + 1)
    for length in lengths:
        counts[length // width] += 1
    return {
        "bin": width,
        "counts": counts,
        "rows": len(lengths),
        "tokens": sum(lengths),
        "shortest": lengths[0],
        "median": statistics.median(lengths),
        "p95": lengths[math.ceil(0.95 * len(lengths)) - 1],  # nearest rank: a length that there is
        "longest": lengths[-1],
    }
