"""Whether a difference between two is more than noise: paired bootstrap over their questions.

Efron and Tibshirani, An Introduction to the Bootstrap, 1993, chapter 13. A question is drawn with
both its values: within each run spec as many as both answered, with replacement. Of each draw the
mean over run specs of the mean difference is taken, and the middle 95 % of these means is the
interval. That a question is hard for both is no noise then, which comparing two intervals would
count (E. Miller, Adding Error Bars to Evals, arXiv 2411.00640, 2024, section 4).

The bootstrap knows no value that it has not seen: where four of ten questions changed hands, all
to the same side, 994 draws of 1,000 lie on that side. So fewer than ``FEWEST`` questions that
differ are never called more than noise: five to the same side come by chance one time in sixteen,
six one time in 32 (sign test, two-sided).
"""

import zlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from tools.score.bootstrap import SEED, Interval, middle
from tools.score.per_question import Pair

if TYPE_CHECKING:
    import numpy

Pairs = Mapping[str, Sequence[Pair]]  # by run spec, both values of each question

RESAMPLES = 10_000
FEWEST = 6
NOISE = "not more than noise"
HOW = (
    f"95 %: of the difference, by paired bootstrap: {RESAMPLES:,} draws of the questions that both "
    f"answered, seed {SEED}",
    "more than noise: these 95 % leave 0 out, and the two differ in six questions or more",
)
_AT_ONCE = 2_000_000  # questions drawn at once: 16 MB


@dataclass(frozen=True)
class Difference:
    """What the second of two has more than the first.

    Attributes:
        mean: over run specs.
        interval: its lowest and highest, of the middle 95 %.
        questions: that both answered.
        changed: of them, those that one answered better than the other.
        run_specs: how many.
    """

    mean: float
    interval: Interval
    questions: int
    changed: int
    run_specs: int

    @property
    def clear(self) -> bool:
        """Whether it is more than noise."""
        low, high = self.interval
        return self.changed >= FEWEST and (low > 0 or high < 0)

    def verdict(self, higher: bool = True) -> str:
        """The same in words.

        Args:
            higher: whether more is better.
        """
        if not self.clear:
            return NOISE
        return f"{'better' if (self.mean > 0) == higher else 'worse'}: more than noise"

    @property
    def ends(self) -> str:
        """The interval as it is printed."""
        return f"{self.interval[0]:+.3f} to {self.interval[1]:+.3f}"


def paired(pairs: Pairs) -> Difference | None:
    """The difference of two who answered the same questions; None where there are none.

    Args:
        pairs: by run spec; those without a question are passed over.
    """
    import numpy

    there = {name: each for name, each in pairs.items() if each}
    if not there:
        return None
    gains = {name: numpy.array([b - a for a, b in each]) for name, each in there.items()}
    drawn = numpy.mean([_drawn(name, each) for name, each in gains.items()], axis=0)
    return Difference(
        float(numpy.mean([each.mean() for each in gains.values()])),
        middle(drawn.tolist()),
        sum(map(len, there.values())),
        int(sum((each != 0).sum() for each in gains.values())),
        len(there),
    )


def _drawn(name: str, gains: "numpy.ndarray[Any, Any]") -> "numpy.ndarray[Any, Any]":
    """The mean of each draw of a run spec's questions; the same whoever else is drawn."""
    import numpy

    count = len(gains)
    draws = numpy.random.default_rng([SEED, zlib.crc32(name.encode()), count])
    means: list[float] = []
    while len(means) < RESAMPLES:
        rows = min(max(1, _AT_ONCE // count), RESAMPLES - len(means))
        means += gains[draws.integers(0, count, (rows, count))].mean(axis=1).tolist()
    return numpy.array(means)
