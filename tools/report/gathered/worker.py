"""The worker part: how fast it answered while it was scored, by its log, and its memory."""

import datetime
import json
import statistics
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

from tools.files import read_json
from tools.report.gathered.source import Missing, Part, Source
from tools.run.provenance import Record

GIB = 2**30
_CLOCK = 2.0  # seconds: a record's end is written in whole ones, after the last answer
Span = tuple[float, float]


def worker(source: Source) -> Part:
    """Latency, tokens a second and memory of each model that was evaluated.

    Only lines between the evaluation's begin and end count: a log is added to by later ones. The
    evaluator asks several questions at once, so a latency is that of a busy worker.

    Returns:
        By model: ``answers``; ``seconds`` of one, ``median``, ``p95`` and ``longest``;
        ``busy_seconds``, while at least one answer was in the making; ``new_tokens_per_second`` and
        ``prompt_tokens_per_second`` over these; ``resident_gib`` and ``card_gib``, the most that
        the worker's process held, None where it was not measured, as before there was the figure,
        or where there is no card. None in place of all this for a model whose log is gone.

    Raises:
        Missing: nothing was evaluated yet, or no log of a worker is there.
    """
    models: dict[str, Part | None] = {}
    for who in source.evaluated():
        record = source.run.record(f"eval_{who}")
        log = source.run.path / "logs" / f"worker_{who}.log"
        found = figures(answered(log, *_span(record))) if record else None
        models[who] = {**found, **_memory(source, who)} if found else None
    if not any(models.values()):
        raise Missing("not measured: no log of a worker that was scored is there", "eval")
    return {"models": models}


def _memory(source: Source, who: str) -> Part:
    """What the evaluation wrote down of the worker's memory; a 0 is none that was measured."""
    stored = (read_json(source.answers(who) / "metrics.json") or {}).get("memory") or {}
    names = {"resident_gib": "resident_bytes", "card_gib": "card_bytes"}
    return {
        ours: size / GIB if (size := stored.get(name)) else None for ours, name in names.items()
    }


def _span(record: Record) -> Span:
    """When a stage was at work, seconds since 1970."""
    end = datetime.datetime.fromisoformat(record["finished"]).timestamp()
    return end - record["seconds"] - _CLOCK, end + _CLOCK


def answered(log: Path, start: float, end: float) -> Iterator[dict[str, Any]]:
    """The worker's lines on answers, each with its end as ``at``; other lines are passed over."""
    if not log.is_file():
        return
    with log.open(encoding="utf-8", errors="replace") as file:
        for line in file:
            if '"answered"' in line and (entry := _entry(line)) and start <= entry["at"] <= end:
                yield entry


def _entry(line: str) -> dict[str, Any] | None:
    """A line's figures; None where it is cut off, by a crash say, or of another kind."""
    try:
        found = json.loads(line)
        if found["message"] != "answered":
            return None
        at = datetime.datetime.fromisoformat(found["time"]).timestamp()
        numbers = ("seconds", "new_tokens", "prompt_tokens")
        return {"at": at, **{name: float(found[name]) for name in numbers}}
    except (ValueError, LookupError, TypeError):
        return None


def figures(entries: Iterable[dict[str, Any]]) -> Part | None:
    """Of answers, their speed; None of none."""
    each = list(entries)
    if not each:
        return None
    seconds = sorted(entry["seconds"] for entry in each)
    work = busy([(entry["at"] - entry["seconds"], entry["at"]) for entry in each])
    return {
        "answers": len(each),
        "seconds": {
            "median": statistics.median(seconds),
            "p95": seconds[max(-(-95 * len(seconds) // 100) - 1, 0)],  # nearest rank
            "longest": seconds[-1],
        },
        "busy_seconds": work,
        **{
            f"{kind}_per_second": sum(entry[kind] for entry in each) / work if work else None
            for kind in ("new_tokens", "prompt_tokens")
        },
    }


def busy(spans: Iterable[Span]) -> float:
    """Seconds that lie in at least one span."""
    total, until = 0.0, float("-inf")
    for start, end in sorted(spans):
        total += max(end - max(start, until), 0.0)
        until = max(until, end)
    return total
