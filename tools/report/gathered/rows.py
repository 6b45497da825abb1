"""The data part: where the rows come from, what became of them, how long they are."""

from typing import Any

from tools.console import bar
from tools.data import tokens
from tools.errors import UserError
from tools.preview.lengths import Measure, by_source, histogram
from tools.report.gathered.source import Part, Source
from tools.run.folder import Run

LONG = 2**26  # bytes; fewer are read before a bar would be seen


def data(source: Source) -> Part:
    """Counts by source and by split, why rows left, and how long those to train on are.

    Raises:
        Missing: no rows were made yet.
    """
    record = source.record("data", "no rows were made yet")
    metrics = record["metrics"]
    measured = _measured(source.run)
    names = ("train", "validation", "test", "shots")
    questions = {name: metrics.get(f"{name}_questions") for name in names}
    questions = {name: count for name, count in questions.items() if count is not None}
    return {
        "sources": _sources(source.run, metrics, measured or {}),
        "operators": metrics.get("operators") or [],
        "read": _total(metrics.get("read")),
        "kept": sum(questions.values()),
        "questions": questions,
        "train_rows": metrics["train_rows"],
        "validation_rows": metrics["validation_rows"],
        "lengths": _lengths(source.run, measured),
    }


def _sources(
    run: Run, metrics: dict[str, Any], measured: dict[str, Measure]
) -> list[dict[str, Any]]:
    """Each source with its licence, what was taken from it to train on, and why others left."""
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
            "left": _left(metrics.get("sources", {}).get(name, {})),
            **_tokens(measured.get(name), run),
        }
        for name, source in run.recipe.data.sources.items()
    ]


def _left(found: dict[str, Any]) -> list[dict[str, Any]]:
    """Why rows of a source are not trained on, how many, and where the first of them is."""
    return [{"why": why, **one} for why, one in found.get("left", {}).items()]


def _tokens(measured: Measure | None, run: Run) -> Part:
    """What is learnt of a source's rows, and how long they are; None where that is not known."""
    if measured is None:
        return {"learnt_share": None, "lengths": None}
    return {
        "learnt_share": measured.share,
        "lengths": _histogram(sorted(measured.lengths), run),
    }


def _total(read: Any) -> int | None:
    """Rows read from all sources; None where the data stage did not say."""
    return sum(read.values()) if isinstance(read, dict) else read


def _lengths(run: Run, measured: dict[str, Measure] | None) -> Part | None:
    """The histogram of all tokenized training rows; None before ``make train`` wrote them."""
    found = sorted(length for one in (measured or {}).values() for length in one.lengths)
    return _histogram(found, run) if found else None


def _histogram(found: list[int], run: Run) -> Part:
    limit = run.recipe.train.get("sequence_len")
    over = sum(length > limit for length in found) if limit else 0
    return {**histogram(found), "limit": limit, "over": over}


def _measured(run: Run) -> dict[str, Measure] | None:
    """The tokens of each source's rows; None before ``make train`` wrote them."""
    try:
        file = tokens.paths(run)["train"]
    except UserError:  # a source file is gone, so its rows cannot be told from others
        return None
    if not file.is_file():
        return None
    size = file.stat().st_size
    if size <= LONG:
        return by_source(run)
    with bar(size, "row lengths", "B") as progress:
        return by_source(run, progress.update)
