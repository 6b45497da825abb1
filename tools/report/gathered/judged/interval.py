"""95 % intervals of scores, over other questions of the same kind.

Answers that are right or wrong: Wilson's interval of a share (E. B. Wilson, Probable Inference,
Journal of the American Statistical Association 22, 1927), which stays honest at 0, at 1 and with
few questions. Graded answers (F1, ROUGE): the mean and 1.96 standard errors, s / sqrt(n), to either
side (E. Miller, Adding Error Bars to Evals, arXiv 2411.00640, 2024); with fewer than some thirty
questions that is a little too narrow. Means over run specs and differences join their parts'
intervals by squares (MOVER: G. Y. Zou and A. Donner, Statistics in Medicine 27, 2008). Of standard
errors this gives the usual one, also of pairs; of Wilson's intervals, R. G. Newcombe's for paired
shares (Statistics in Medicine 17, 1998, page 2635), without his correction of the correlation.
"""

import math
import statistics
from collections.abc import Mapping, Sequence

Interval = tuple[float, float]

Z = statistics.NormalDist().inv_cdf(0.975)  # 1.96: the middle 95 %


def wilson(share: float, count: int) -> Interval | None:
    """The interval of a share of right answers; None without a question.

    With ``p`` the share of ``n``: centre ``(p + z² / 2n) / (1 + z² / n)``, half-width
    ``z / (1 + z² / n) * sqrt(p (1 - p) / n + z² / 4n²)``.

    Args:
        share: from 0 to 1.
        count: of questions.
    """
    if count < 1:
        return None
    more = Z**2 / count
    centre = (share + more / 2) / (1 + more)
    half = math.sqrt(Z**2 * share * (1 - share) / count + more**2 / 4) / (1 + more)
    # At 0 and at 1 the end is the share itself, but for the last digit of a float.
    return min(max(centre - half, 0.0), share), max(min(centre + half, 1.0), share)


def of_mean(values: Sequence[float]) -> Interval | None:
    """The mean of graded answers, ``z s / sqrt(n)`` to either side; None of fewer than two.

    Where all values lie from 0 to 1 so do the ends: such a mean lies nowhere else.
    """
    if len(values) < 2:
        return None
    mean = statistics.fmean(values)
    half = Z * statistics.stdev(values) / math.sqrt(len(values))
    if min(values) < 0 or max(values) > 1:
        return mean - half, mean + half
    return max(mean - half, 0.0), min(mean + half, 1.0)


def of_values(values: Sequence[float]) -> Interval | None:
    """The interval of a mean over questions: Wilson's where all are 0 or 1, else ``of_mean``."""
    if set(values) <= {0.0, 1.0}:
        return wilson(statistics.fmean(values), len(values)) if values else None
    return of_mean(values)


def of_means(means: Sequence[float], intervals: Sequence[Interval | None]) -> Interval | None:
    """The interval of the mean over run specs whose questions are not the same ones.

    Args:
        means: one a run spec.
        intervals: theirs; where one is not known neither is the whole.
    """
    known = [one for one in intervals if one is not None]
    if not known or len(known) < len(means):
        return None
    mean = statistics.fmean(means)
    below = math.hypot(*(m - low for m, (low, _) in zip(means, known, strict=True)))
    above = math.hypot(*(high - m for m, (_, high) in zip(means, known, strict=True)))
    return mean - below / len(means), mean + above / len(means)


def of_difference(
    before: tuple[float, Interval | None], after: tuple[float, Interval | None], alike: float
) -> Interval | None:
    """The interval of ``after - before``; None where either's is not known.

    Args:
        before: a mean and its interval.
        after: the other's.
        alike: correlation of the two over their questions, as ``correlation`` finds it; 0 where the
            questions are not the same ones.
    """
    (b, of_b), (a, of_a) = before, after
    if of_b is None or of_a is None:
        return None
    difference = a - b
    below = _distance(a - of_a[0], of_b[1] - b, alike)
    above = _distance(of_a[1] - a, b - of_b[0], alike)
    return difference - below, difference + above


def _distance(one: float, other: float, alike: float) -> float:
    # Rounding may leave a little below 0 where both are as long and wholly alike.
    return math.sqrt(max(one**2 + other**2 - 2 * alike * one * other, 0.0))


def correlation(before: Mapping[str, float], after: Mapping[str, float]) -> float:
    """Pearson's, over the questions that both were asked; 0 where one of them does not vary."""
    both = sorted(before.keys() & after.keys())
    x, y = ([values[each] for each in both] for values in (before, after))
    if len(both) < 2 or len(set(x)) < 2 or len(set(y)) < 2:
        return 0.0
    return statistics.correlation(x, y)
