"""From samples to the table: figures of a run, medians of repeats, goals met or not."""

import math
import statistics
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from tabulate import tabulate

from benchmarks.client import Sample

#: Figures of one run of one load by name, such as ``{"req_s": 8.1, "p50": 3.2}``.
Figures = dict[str, float]

#: Figures of each repeat, by server and load.
Results = Mapping[str, Mapping[str, Sequence[Figures]]]


@dataclass(frozen=True)
class Goal:
    """What a figure of ours should be: a multiple of a server's, or below a bound."""

    over: str = ""
    at_least: float = 0.0
    below: float = 0.0

    def met(self, value: float) -> bool:
        """Whether a value reaches it."""
        return value >= self.at_least if self.over else value < self.below

    def __str__(self) -> str:
        return f">= {self.at_least:g} x {self.over}" if self.over else f"< {self.below:g}"


@dataclass(frozen=True)
class Row:
    """A line of the table: a figure of a load and the goals for it."""

    load: str
    figure: str
    title: str
    goals: tuple[Goal, ...] = ()


#: Issue "The serving worker", section Shows.
ROWS = (
    Row("a550", "req_s", "requests/s", (Goal("2023", 8), Goal("llama.cpp", 1))),
    Row("a550", "p50", "p50, s"),
    Row("a550", "p95", "p95, s"),
    Row("a550", "same", "same answers as 2023, %"),
    Row("a1900", "req_s", "requests/s", (Goal("2023", 8), Goal("llama.cpp", 1))),
    Row("a1900", "p50", "p50, s"),
    Row("a1900", "p95", "p95, s"),
    Row("b", "req_s", "requests/s", (Goal("2023", 4),)),
    Row("b", "tok_s", "new tokens/s"),
    Row("b", "tokens", "median new tokens"),
    Row("b", "p50", "p50, s"),
    Row("b", "tokenize_p50", "(d) /tokenize meanwhile, p50, ms"),
    Row("b", "tokenize_p99", "(d) /tokenize meanwhile, p99, ms", (Goal(below=50),)),
    Row("c1", "tok_s", "new tokens/s", (Goal("2023", 1.3),)),
    Row("c4", "tok_s", "new tokens/s"),
    Row("c16", "tok_s", "new tokens/s", (Goal("2023", 8),)),
    Row("c16", "same", "same answers as 2023, %"),
    Row("e", "req_s", "requests/s"),
    Row("e", "p50_one", "p50 of the 1-token requests, s", (Goal(below=0.3),)),
)


def figures(samples: Sequence[Sample], new: Sequence[int], asked: Sequence[int]) -> Figures:
    """Rates and latencies of one run.

    Args:
        samples: the answered requests.
        new: number of new tokens of each.
        asked: most new tokens that each asked for.
    """
    begun = min(sample.sent for sample in samples)
    seconds = max(sample.sent + sample.seconds for sample in samples) - begun
    latencies = [sample.seconds for sample in samples]
    short = [s.seconds for s, most in zip(samples, asked, strict=True) if most == 1]
    found = {
        "requests": len(samples),
        "seconds": seconds,
        "req_s": len(samples) / seconds,
        "tok_s": sum(new) / seconds,
        "tokens": statistics.median(new),
        "p50": quantile(latencies, 0.5),
        "p95": quantile(latencies, 0.95),
    }
    return found | ({"p50_one": quantile(short, 0.5)} if short else {})


def probe_figures(probes: Sequence[Sample]) -> Figures:
    """Latencies of /tokenize in milliseconds."""
    latencies = [probe.seconds * 1000 for probe in probes]
    return {
        "tokenize_p50": quantile(latencies, 0.5),
        "tokenize_p99": quantile(latencies, 0.99),
        "tokenize_calls": len(probes),
    }


def quantile(values: Sequence[float], share: float) -> float:
    """The smallest value that this share of the values does not exceed."""
    ordered = sorted(values)
    return ordered[max(0, math.ceil(share * len(ordered)) - 1)]


def medians(repeats: Sequence[Figures]) -> Figures:
    """The median of each figure over the repeats."""
    return {name: statistics.median(run[name] for run in repeats) for name in repeats[0]}


def verdicts(results: Results) -> list[dict[str, Any]]:
    """Each goal that was measured, with its value and whether it is met."""
    middle = _middle(results)
    found = []
    for row in ROWS:
        for goal in row.goals:
            value = _value(middle, row, goal)
            if value is not None:
                where = {"load": row.load, "figure": row.figure, "goal": str(goal)}
                found.append({**where, "value": value, "met": goal.met(value)})
    return found


def table(results: Results, titles: Mapping[str, str]) -> str:
    """The Markdown table.

    Args:
        results: what was measured.
        titles: of the loads, by name.
    """
    middle = _middle(results)
    others = [name for name in middle if name != "ours"]
    head = ["load", "figure", *middle, *(f"ours / {name}" for name in others), "goal"]
    lines = []
    last = ""
    for row in ROWS:
        if not any(row.figure in middle[name].get(row.load, {}) for name in middle):
            continue
        title = titles[row.load] if row.load != last else ""
        values = [_number(_figure(middle, name, row)) for name in middle]
        ratios = [_ratio(middle, name, row) for name in others]
        lines.append([title, row.title, *values, *ratios, _verdict(middle, row)])
        last = row.load
    aligned = ("left", "left", *["right"] * (len(head) - 3), "left")
    return tabulate(lines, head, tablefmt="github", colalign=aligned, disable_numparse=True)


def _middle(results: Results) -> dict[str, dict[str, Figures]]:
    return {
        name: {load: medians(repeats) for load, repeats in loads.items()}
        for name, loads in results.items()
    }


def _figure(middle: Mapping[str, Mapping[str, Figures]], name: str, row: Row) -> float | None:
    return middle.get(name, {}).get(row.load, {}).get(row.figure)


def _value(middle: Mapping[str, Mapping[str, Figures]], row: Row, goal: Goal) -> float | None:
    """What a goal is about: our figure, or its ratio to a server's."""
    ours = _figure(middle, "ours", row)
    if not goal.over or ours is None:
        return ours
    theirs = _figure(middle, goal.over, row)
    return ours / theirs if theirs else None


def _ratio(middle: Mapping[str, Mapping[str, Figures]], name: str, row: Row) -> str:
    """Of rates only: who waits behind fewer clients has shorter latencies."""
    value = _value(middle, row, Goal(name)) if row.figure in ("req_s", "tok_s") else None
    return f"{value:.2f}" if value is not None else ""


def _verdict(middle: Mapping[str, Mapping[str, Figures]], row: Row) -> str:
    words = []
    for goal in row.goals:
        value = _value(middle, row, goal)
        outcome = "not measured" if value is None else "met" if goal.met(value) else "NOT MET"
        words.append(f"{goal}: {outcome}")
    return "; ".join(words)


def _number(value: float | None) -> str:
    if value is None:
        return "-"
    return f"{value:.0f}" if value >= 100 else f"{value:.3g}"
