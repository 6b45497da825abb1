"""Two models on the same questions: intervals, what changed hands, and whether by chance."""

import math
import statistics
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from tools.report.gathered.judged import interval
from tools.report.gathered.judged.interval import Interval
from tools.report.gathered.source import Part

SURE = 0.05  # of the sign test; a difference that chance makes more often is called none
_SAME = 1e-6  # a mean over questions that is further from HELM's own figure is not its mean

Values = Mapping[str, float]


@dataclass(frozen=True)
class Score:
    """One model's figure in one run spec.

    Attributes:
        value: HELM's; None where the model was not asked.
        count: of questions.
        shares: whether an answer is right or wrong, and nothing between.
        values: by question, where they are at hand.
    """

    value: float | None
    count: int
    shares: bool
    values: Values = field(default_factory=dict)

    @property
    def interval(self) -> Interval | None:
        """Of the questions' values; without them of the share alone."""
        if self.value is None:
            return None
        each = list(self.values.values())
        if each and abs(statistics.fmean(each) - self.value) <= _SAME:
            return interval.of_values(each)
        return interval.wilson(self.value, self.count) if self.shares else None


def pair(before: Score, after: Score) -> Part:
    """Intervals of both and of their difference, and how many questions changed hands."""
    difference = None
    if before.value is not None and after.value is not None:
        alike = interval.correlation(before.values, after.values)
        ends = (before.value, before.interval), (after.value, after.interval)
        difference = interval.of_difference(*ends, alike)
    return {
        "intervals": {"base": before.interval, "tuned": after.interval, "difference": difference},
        **changed(before.values, after.values),
    }


def changed(base: Values, tuned: Values) -> Part:
    """Number of questions that the tuned model answers better, and worse; None when not known."""
    both = base.keys() & tuned.keys()
    if not both:
        return {"gained": None, "lost": None}
    return {
        "gained": sum(tuned[instance] > base[instance] for instance in both),
        "lost": sum(tuned[instance] < base[instance] for instance in both),
    }


def together(specs: Sequence[Part]) -> Part:
    """Values and intervals of the mean over run specs, and its difference.

    Args:
        specs: with ``base``, ``tuned`` and what ``pair`` finds of them.
    """
    base, tuned = (average(specs, who) for who in ("base", "tuned"))
    difference = None if base is None or tuned is None else tuned - base
    return {
        "base": base,
        "tuned": tuned,
        "difference": difference,
        "intervals": {
            "base": base if base is None else _interval(specs, "base"),
            "tuned": tuned if tuned is None else _interval(specs, "tuned"),
            "difference": None if difference is None else _interval(specs, "difference"),
        },
    }


def _interval(specs: Sequence[Part], key: str) -> Interval | None:
    means = [each["tuned"] - each["base"] if key == "difference" else each[key] for each in specs]
    return interval.of_means(means, [each["intervals"][key] for each in specs])


def judged(specs: Sequence[Part]) -> Part:
    """Questions that changed hands over run specs, and the verdict on them."""
    gained, lost = (_sum(specs, key) for key in ("gained", "lost"))
    chance = None if gained is None or lost is None else sign_test(gained, lost)
    verdict = verdict_of(gained, lost, chance)
    return {"gained": gained, "lost": lost, "chance": chance, "verdict": verdict}


def average(entries: Sequence[Part], key: str) -> float | None:
    """The mean; None unless every entry has a value, for means over other sets compare nothing."""
    found = [entry[key] for entry in entries if entry[key] is not None]
    return statistics.fmean(found) if found and len(found) == len(entries) else None


def _sum(entries: Sequence[Part], key: str) -> int | None:
    found = [entry[key] for entry in entries if entry[key] is not None]
    return sum(found) if len(found) == len(entries) else None


def sign_test(gained: int, lost: int) -> float:
    """Chance of a split at least as uneven if either way were as likely, two-sided and exact.

    On right and wrong answers this is McNemar's test in its exact form (Psychometrika 12, 1947).
    """
    total, fewer = gained + lost, min(gained, lost)
    tail = sum(math.comb(total, k) for k in range(fewer + 1))
    return min(1.0, 2 * tail / 2**total)


def verdict_of(gained: int | None, lost: int | None, chance: float | None) -> str:
    """``better`` or ``worse``; empty where chance alone would do it too often."""
    if chance is None or gained is None or lost is None or chance > SURE:
        return ""
    return "better" if gained > lost else "worse"
