"""The smallest difference that so many questions can tell from noise, known before they are asked.

R. J. Connor, Sample size for testing differences in proportions for the paired-sample design,
Biometrics 43 (1987), page 207: of ``n`` questions that two answer right or wrong, a share ``c`` of
which one alone answers right, a difference ``d`` is found at the level of 5 %, two-sided, in 80 of
100 evaluations where

    d sqrt(n) = 1.96 sqrt(c) + 0.84 sqrt(c - d²)

How many questions change hands nobody knows before. ``CHANGED`` is assumed: three of ten, as where
each answers half of them right and their answers go together with a correlation of 0.4. With fewer
a smaller difference is found. A difference larger than ``c`` needs as many that change hands.
"""

import math
import statistics
from collections.abc import Sequence

from tools.score.difference import FEWEST

CHANGED = 0.3
POWER = 0.8
_SURE = statistics.NormalDist().inv_cdf(0.975)
_FOUND = statistics.NormalDist().inv_cdf(POWER)
_HALVINGS = 50
ASSUMED = f"{POWER:.0%} power, {round(10 * CHANGED)} of 10 questions change hands"


def smallest(counts: Sequence[int], changed: float = CHANGED) -> float | None:
    """The smallest difference of the mean over run specs that is told from noise.

    Args:
        counts: of the questions in each run spec.
        changed: the share of them that one of the two alone answers right.

    Returns:
        From 0 to 1; None where not even a difference of 1 would be.
    """
    if not counts or not all(counts) or sum(counts) < FEWEST:
        return None
    # So many questions in one run spec would have the variance that the mean over all has.
    count = len(counts) ** 2 / sum(1 / each for each in counts)
    if _missing(1.0, count, changed) > 0:
        return None
    low, high = 0.0, 1.0
    for _ in range(_HALVINGS):
        half = (low + high) / 2
        low, high = (half, high) if _missing(half, count, changed) > 0 else (low, half)
    return high


def _missing(difference: float, count: float, changed: float) -> float:
    """What a difference lacks to be found, in standard errors' units; not positive: it is found."""
    share = max(changed, difference)
    return (
        _SURE * math.sqrt(share)
        + _FOUND * math.sqrt(share - difference**2)
        - difference * math.sqrt(count)
    )


def said(counts: Sequence[int]) -> str:
    """The same in words."""
    found = smallest(counts)
    if found is None:
        return "too few questions to tell any difference from noise"
    return f"differences of {found:.3f} and more can be told from noise"
