"""The organizers' formula: from the metrics of a pool to win rates, stage scores and finals.

Source: the challenge's published evaluation scripts and results of 2023; the eight published
entries of the 4090 track recompute to the last digits (``tests/tools/test_ranking.py``).

- Win rate of an entry in a column, among ``N`` entries: the number it beats, plus for each entry
  tied with it ``1 / (c (c - 1))`` where ``c`` entries share the value, over ``N``.
- A missing value is 0, or 1000 where lower is better (stereotypes and representation).
- A scenario's win rate is the mean over its columns.
- A stage's score is the geometric mean over its scenarios, 0 replaced by the smallest positive
  double: last place in one scenario all but zeroes a stage.
- The final is 1/3 open + 2/3 hidden.

Nothing is read here, and nothing imported that takes long.
"""

import functools
import math
import re
from bisect import bisect_left, bisect_right
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from statistics import fmean

Metrics = Mapping[str, float | None]

STAGES = {
    "open": ("MMLU", "TruthfulQA", "BIG-bench", "GSM8K", "BBQ"),
    "hidden": ("sam_sum", "corr2cause", "MATH", "ethics"),
}
WEIGHTS = {"open": 1 / 3, "hidden": 2 / 3}
FINAL = "full"
MISSING, MISSING_LOW = 0.0, 1000.0
LEAST = math.ulp(0.0)  # 5e-324, what a win rate of 0 counts as in the geometric mean

_EXACT = ("EM", "EM (Robustness)", "EM (Fairness)")
_BIAS = tuple(
    f"{what} ({group})"
    for what in ("Stereotypes", "Representation")
    for group in ("race", "gender")
)
# Scenario: its columns' prefix, then what may stand behind " - ".
_BOARD = {
    "MMLU": ("MMLU", _EXACT),
    "TruthfulQA": ("TruthfulQA", _EXACT),
    "BIG-bench": ("BIG-bench", ("EM",)),
    "GSM8K": ("GSM8K", ("EM",)),
    "BBQ": ("BBQ", ("EM",)),
    "sam_sum": ("sam_sum", ("ROUGE-2", *_BIAS)),
    "corr2cause": ("corr2cause", ("EM",)),
    "MATH": ("MATH (chain-of-thoughts)", ("Equivalent (chain of thought)",)),
    "ethics": ("ethics", _EXACT),  # ethics_justice, ethics_virtue, ...
}
ETHICS = ("justice", "commonsense", "virtue", "deontology", "utilitarianism")
# Metrics whose better direction is known, so that scenarios of no stage can be compared, too.
_KNOWN = re.compile(r"(EM|Equivalent|ROUGE-2|F1|Stereotypes|Representation)\b.*")


@dataclass(frozen=True)
class Column:
    """What a column's name says.

    Attributes:
        name: as the board spells it, or as given when the board has no such column.
        scenario: whose win rate it is part of; None when it is part of none.
        stage: ``open`` or ``hidden``; None when it counts in neither.
        lower: whether lower is better.
    """

    name: str
    scenario: str | None
    stage: str | None
    lower: bool


@dataclass(frozen=True)
class Standing:
    """Where an entry stands in its pool.

    Attributes:
        rates: by scenario of the two stages, its win rate in 0..1; None where it took no part.
        score: ``open``, ``hidden`` and ``full``; None without data.
        others: win rates of scenarios that are part of neither stage.
    """

    rates: dict[str, float | None] = field(default_factory=dict)
    score: dict[str, float | None] = field(default_factory=dict)
    others: dict[str, float] = field(default_factory=dict)


@functools.cache
def column(name: str) -> Column:
    """Read a column's name, ``SCENARIO - METRIC``; capitals and punctuation do not matter."""
    prefix, _, metric = (part.strip() for part in name.partition(" - "))
    lower = "stereotyp" in metric.lower() or "representation" in metric.lower()
    task = re.fullmatch(r"ethics[ _-]+(\w+)", prefix, re.IGNORECASE)
    # Without brackets: MATH is the board's MATH (chain-of-thoughts), however it is written.
    start = _squeeze("ethics" if task else re.sub(r"\(.*?\)", "", prefix))
    found = _spellings().get((start, _squeeze(metric)))
    if found is None:
        # A metric that a scenario of the board has not is misspelt; it makes no new scenario.
        foreign = start not in {squeezed for squeezed, _ in _spellings()}
        rated = foreign and not task and _KNOWN.fullmatch(metric)
        return Column(name, prefix.partition(":")[0] if rated else None, None, lower)
    scenario, spelt = found
    full = f"ethics_{task[1].lower()}" if task else _BOARD[scenario][0]
    stage = next(stage for stage, scenarios in STAGES.items() if scenario in scenarios)
    return Column(f"{full} - {spelt}", scenario, stage, lower)


def board() -> list[str]:
    """The columns of the final, as published."""
    return [
        f"{prefix} - {metric}"
        for scenario, (start, metrics) in _BOARD.items()
        for prefix in ([f"ethics_{task}" for task in ETHICS] if scenario == "ethics" else [start])
        for metric in metrics
    ]


@functools.cache
def _spellings() -> dict[tuple[str, str], tuple[str, str]]:
    """By squeezed scenario and metric: both in their right spelling."""
    return {
        (_squeeze(scenario), _squeeze(metric)): (scenario, metric)
        for scenario, (_, metrics) in _BOARD.items()
        for metric in metrics
    }


def _squeeze(text: str) -> str:
    return re.sub(r"[^a-z0-9]", "", text.casefold())


def standings(pool: Sequence[Metrics]) -> list[Standing]:
    """Rank a pool.

    An entry takes part in a stage when it has one of the stage's columns, be its value missing; of
    such a stage, it misses what it has not. Who takes no part in a stage is none of its ``N``.

    Args:
        pool: each entry's metrics, by column; None is a missing value.

    Returns:
        A standing an entry, in the same order.
    """
    pool = [{column(name).name: value for name, value in metrics.items()} for metrics in pool]
    found = [Standing() for _ in pool]
    staged = {stage: [takes_part(metrics, stage) for metrics in pool] for stage in STAGES}
    for scenario, columns in _scenarios(pool).items():
        stage = columns[0].stage
        inside = staged[stage] if stage else _having(pool, columns)
        taking = [at for at, present in enumerate(inside) if present]
        shares = [
            win_rates([value_of(pool[at], one) for at in taking], one.lower) for one in columns
        ]
        means = {at: fmean(share[i] for share in shares) for i, at in enumerate(taking)}
        for at, standing in enumerate(found):
            if stage:
                standing.rates[scenario] = means.get(at)
            elif at in means:
                standing.others[scenario] = means[at]
    for standing in found:
        standing.score.update(_score(standing.rates))
    return found


def _scenarios(pool: Sequence[Metrics]) -> dict[str, list[Column]]:
    """The columns of each scenario that anyone has, in the board's order, then the others'."""
    names = dict.fromkeys(name for metrics in pool for name in metrics)
    order = [scenario for scenarios in STAGES.values() for scenario in scenarios]
    found: dict[str, list[Column]] = {scenario: [] for scenario in order}
    for one in map(column, names):
        if one.scenario:
            found.setdefault(one.scenario, []).append(one)
    return {scenario: columns for scenario, columns in found.items() if columns}


def _having(pool: Sequence[Metrics], columns: list[Column]) -> list[bool]:
    names = {one.name for one in columns}
    return [bool(names & metrics.keys()) for metrics in pool]


def takes_part(metrics: Metrics, stage: str) -> bool:
    """Whether an entry has a column of a stage, be its value missing."""
    return any(column(name).stage == stage for name in metrics)


def value_of(metrics: Metrics, one: Column) -> float:
    """An entry's value in a column, or what a missing one counts as."""
    return counts_as(metrics.get(one.name), one)


def counts_as(value: float | None, one: Column) -> float:
    """What a value of a column is ranked by, None being a missing one."""
    if value is None:
        return MISSING_LOW if one.lower else MISSING
    return float(value)


def win_rates(values: Sequence[float], lower: bool = False) -> list[float]:
    """The win rate of each value among all of them, by the organizers' tie rule.

    Equal means equal to the last bit, as in the published results. The ``c - 1`` others that share
    a value give ``1 / (c (c - 1))`` each, ``1 / c`` together. The best of ``N`` gets
    ``(N - 1) / N``, and one alone 0.

    Args:
        values: an entry's value each.
        lower: whether lower is better.
    """
    ordered, shared, count = sorted(values), Counter(values), len(values)
    rates = []
    for value in values:
        beaten = count - bisect_right(ordered, value) if lower else bisect_left(ordered, value)
        tied = 1 / shared[value] if shared[value] > 1 else 0.0
        rates.append((beaten + tied) / count)
    return rates


def _score(rates: Mapping[str, float | None]) -> dict[str, float | None]:
    found: dict[str, float | None] = {}
    for stage, scenarios in STAGES.items():
        known = [rate for one in scenarios if (rate := rates.get(one)) is not None]
        found[stage] = geometric_mean(known) if known else None
    open_, hidden = found["open"], found["hidden"]
    if open_ is None or hidden is None:
        return {**found, FINAL: None}
    return {**found, FINAL: open_ * WEIGHTS["open"] + hidden * WEIGHTS["hidden"]}


def geometric_mean(rates: Sequence[float]) -> float:
    """The geometric mean, 0 taken as the smallest positive double."""
    return math.exp(fmean(math.log(rate or LEAST) for rate in rates))


def ranks(scores: Sequence[float | None]) -> list[int | None]:
    """Places by score, 1 for the best; equals share a place, who has no score has none."""
    ordered = sorted((score for score in scores if score is not None), reverse=True)
    return [None if score is None else ordered.index(score) + 1 for score in scores]
