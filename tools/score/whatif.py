"""What would raise an entry's score most: one scenario after another is made better.

The others keep their values but lose win rate when they are passed: the whole pool is ranked anew.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass

from tools.score import ranking
from tools.score.ranking import FINAL, STAGES, Column, Metrics, column

Target = tuple[float | None, float | None, float | None]


@dataclass(frozen=True)
class Step:
    """What one change would give.

    Attributes:
        rate: the scenario's win rate after it.
        score: the score after it.
        gain: score after minus before.
    """

    rate: float
    score: float
    gain: float


@dataclass(frozen=True)
class Gain:
    """What is to be had in one scenario.

    Attributes:
        scenario: as ``tools.score.ranking`` calls it.
        rate: its win rate now.
        score: which score is meant: ``full``, or the only stage the entry has.
        next: after passing, in each column, the next better entry (or whom it is level with).
        best: after passing everyone in each column.
        targets: by column, the value now, the one to pass next, and the best of the others; None is
            a missing value. Where nobody is ahead or level all three are the entry's own.
    """

    scenario: str
    rate: float
    score: str
    next: Step
    best: Step
    targets: dict[str, Target]


def gains(pool: Sequence[Metrics], at: int) -> list[Gain]:
    """Each scenario the entry takes part in, the most rewarding first.

    Args:
        pool: each entry's metrics, by column.
        at: the entry's index.

    Returns:
        Sorted by the gain of passing everyone, then of passing the next; empty when the entry has
        no score or is alone.
    """
    now = ranking.standings(pool)[at]
    score = next((one for one in (FINAL, *STAGES) if now.score[one] is not None), None)
    if score is None or len(pool) < 2:
        return []
    before = now.score[score] or 0.0
    found = []
    for scenario, rate in now.rates.items():
        if rate is None:
            continue
        targets = {one: _target(pool, at, one) for one in _columns(pool, scenario)}
        passed = [
            {one.name: _past(target[place], one) for one, target in targets.items()}
            for place in (1, 2)
        ]
        near, far = (_step(pool, at, values, scenario, score, before) for values in passed)
        named = {one.name: target for one, target in targets.items()}
        found.append(Gain(scenario, rate, score, near, far, named))
    return sorted(found, key=lambda one: (one.best.gain, one.next.gain), reverse=True)


def _columns(pool: Sequence[Metrics], scenario: str) -> list[Column]:
    found = dict.fromkeys(column(name) for metrics in pool for name in metrics)
    return [one for one in found if one.scenario == scenario]


def _target(pool: Sequence[Metrics], at: int, one: Column) -> Target:
    """The entry's value, the next one to pass, and the best of the others."""
    mine = ranking.value_of(pool[at], one)
    others = [metrics for i, metrics in enumerate(pool) if i != at]
    ahead = [
        metrics
        for metrics in others
        if ranking.takes_part(metrics, one.stage or "")
        if (value := ranking.value_of(metrics, one)) == mine or (value < mine) == one.lower
    ]
    ahead.sort(key=lambda metrics: ranking.value_of(metrics, one), reverse=one.lower)
    ends = (ahead[0], ahead[-1]) if ahead else (pool[at], pool[at])
    near, far = (metrics.get(one.name) for metrics in ends)
    return pool[at].get(one.name), near, far


def _past(value: float | None, one: Column) -> float:
    """The least value that beats another; the board's are shares, and none beats 1 (or 0)."""
    other = ranking.counts_as(value, one)
    if one.lower:
        return max(math.nextafter(other, -math.inf), 0.0)
    return min(math.nextafter(other, math.inf), max(1.0, other))


def _step(
    pool: Sequence[Metrics],
    at: int,
    values: dict[str, float],
    scenario: str,
    score: str,
    before: float,
) -> Step:
    """Rank anew with one scenario's values changed."""
    changed = {column(name).name: value for name, value in pool[at].items()} | values
    after = ranking.standings([changed if i == at else other for i, other in enumerate(pool)])[at]
    reached = after.score[score] or 0.0
    return Step(after.rates[scenario] or 0.0, reached, reached - before)
