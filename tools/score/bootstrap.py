"""How far a score would move with other questions: percentile bootstrap over the instances.

Efron and Tibshirani, An Introduction to the Bootstrap, 1993, chapter 13. Within each run spec as
many instances as it has are drawn with replacement, the columns and the whole pool's ranking are
computed anew, and the middle 95 % of the scores is the interval. All of one's own entries are
redrawn together, with the same questions where they answered the same ones; published entries have
no answers at hand and stay as they are. So do figures that are no mean over instances: the four
biases of sam_sum.
"""

import math
import zlib
from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from tools.score import suites
from tools.score.pool import Entry
from tools.score.ranking import standings
from tools.score.suites import Spec

if TYPE_CHECKING:
    import numpy

Interval = tuple[float, float]

RESAMPLES = 1000
SEED = 0
LEVEL = 95  # per cent
_SAME = 1e-6  # a mean over instances that is further from HELM's own figure is not trusted


def intervals(
    pool: Sequence[Entry], resamples: int = RESAMPLES, seed: int = SEED
) -> list[dict[str, Interval]]:
    """The interval of each entry's scores.

    Args:
        pool: the entries.
        resamples: how many times the questions are drawn.
        seed: the same seed gives the same intervals.

    Returns:
        An entry each, by score (``open``, ``hidden``, ``full``) the lowest and highest of the
        middle 95 %; empty for an entry of which no instances are at hand.
    """
    redrawn = [_redrawn(entry, resamples, seed) for entry in pool]
    if not any(redrawn):
        return [{} for _ in pool]
    scores: list[dict[str, list[float]]] = [{} for _ in pool]
    for metrics in _resamples(pool, redrawn, resamples):
        for at, standing in enumerate(standings(metrics)):
            for score, value in standing.score.items():
                if value is not None and redrawn[at]:
                    scores[at].setdefault(score, []).append(value)
    return [{score: middle(values) for score, values in one.items()} for one in scores]


def _resamples(
    pool: Sequence[Entry], redrawn: Sequence[Mapping[str, list[float]]], resamples: int
) -> Iterator[list[dict[str, float | None]]]:
    for number in range(resamples):
        yield [
            entry.metrics | {column: values[number] for column, values in drawn.items()}
            for entry, drawn in zip(pool, redrawn, strict=True)
        ]


def middle(values: list[float]) -> Interval:
    """The lowest and the highest of the middle ``LEVEL`` per cent."""
    ordered, outside = sorted(values), (100 - LEVEL) / 200
    low = math.floor(outside * (len(ordered) - 1))
    return ordered[low], ordered[len(ordered) - 1 - low]


def _redrawn(entry: Entry, resamples: int, seed: int) -> dict[str, list[float]]:
    """By column, its value in each resample."""
    import numpy

    fixed: dict[str, list[float]] = {}  # by column, figures of run specs that stay as they are
    moving: dict[str, list[Any]] = {}  # and those that vary, an array over the resamples each
    for spec in entry.specs:
        asked = suites.wanted(spec)
        drawn = _draw(spec, asked, resamples, seed)
        for column, (metric, perturbation) in asked.items():
            value = suites.figure(spec, metric, perturbation)
            if value is None:
                continue
            if column in drawn and abs(drawn[column][0] - value) < _SAME:
                moving.setdefault(column, []).append(drawn[column][1])
            else:
                fixed.setdefault(column, []).append(value)
    return {
        column: (
            (numpy.sum(arrays, axis=0) + sum(fixed.get(column, [])))
            / (len(arrays) + len(fixed.get(column, [])))
        ).tolist()
        for column, arrays in moving.items()
    }


def _draw(
    spec: Spec, asked: suites.Wanted, resamples: int, seed: int
) -> dict[str, tuple[float, "numpy.ndarray[Any, Any]"]]:
    """By column, the mean over a run spec's instances, and that over each resample."""
    import numpy

    values = suites.instance_values(spec, asked)
    if not values:
        return {}
    table = numpy.array(list(values.values()), dtype=float)  # columns x instances, None as NaN
    count = table.shape[1]
    # By name and count, so that all who were asked the same are redrawn alike; hash() is salted.
    draws = numpy.random.default_rng([seed, zlib.crc32(spec.name.encode()), count])
    chosen = draws.integers(0, count, (resamples, count), dtype=numpy.int32)
    return {column: _means(row, chosen) for column, row in zip(values, table, strict=True)}


def _means(
    row: "numpy.ndarray[Any, Any]", chosen: "numpy.ndarray[Any, Any]"
) -> tuple[float, "numpy.ndarray[Any, Any]"]:
    """The mean over the instances that have a value, and that over each draw of them."""
    import numpy

    known = ~numpy.isnan(row)
    filled = numpy.where(known, row, 0.0)
    mean = filled.sum() / known.sum()
    counts = known[chosen].sum(axis=1)
    sums = filled[chosen].sum(axis=1)
    # A draw may hit no instance that has a value.
    return float(mean), numpy.where(counts, sums / numpy.maximum(counts, 1), mean)


def of_ratio(sums: Sequence[float], counts: Sequence[float]) -> Interval:
    """The interval of ``sum(sums) / sum(counts)`` over other rows of the same kind.

    Args:
        sums: a row each, such as its loss.
        counts: what its sum is over, such as its tokens.
    """
    import numpy

    rows = len(sums)
    chosen = numpy.random.default_rng(SEED).integers(0, rows, (RESAMPLES, rows))
    over = numpy.array(counts, dtype=float)[chosen].sum(axis=1)
    drawn = numpy.array(sums, dtype=float)[chosen].sum(axis=1) / numpy.maximum(over, 1)
    return middle(drawn.tolist())


def of_mean(groups: Sequence[Sequence[float]]) -> Interval:
    """The interval of the mean over groups of each one's mean, with other members in each.

    Args:
        groups: a run spec each, of its questions' values; none is empty.
    """
    import numpy

    draws, means = numpy.random.default_rng(SEED), []
    for each in groups:
        values = numpy.array(each, dtype=float)
        chosen = draws.integers(0, len(values), (RESAMPLES, len(values)))
        means.append(values[chosen].mean(axis=1))
    return middle(numpy.mean(means, axis=0).tolist())
