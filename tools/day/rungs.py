"""How far the trials of a sweep go: rungs as shares of a whole training, and what they cost.

One trial after the other climbs: at each rung it is held against all that have come there, and
goes on when it is among the best one in ``keep`` of them. So the first one always goes to the top.
"""

from dataclasses import dataclass

from tools.recipe.schema import Sweep

START = 30.0  # seconds until a trial's first step (measured with Axolotl on two cores: 13 to 37)
FINALISTS = 2  # that are trained again with each other seed: the winner, and one to hold it against
HALF = 0.5  # of a training, the farthest that the last rung is put without being asked for


@dataclass(frozen=True)
class Ladder:
    """The rungs of a sweep.

    Attributes:
        rungs: share of a whole training at each, the last one the farthest.
        climbs: trials that are expected to train as far as each.
        again: trainings to the last rung with other seeds.
    """

    rungs: tuple[float, ...]
    climbs: tuple[float, ...]
    again: int = 0

    @property
    def trainings(self) -> float:
        """What all trials together are expected to cost, in whole trainings."""
        before = (0.0, *self.rungs)
        steps = zip(self.climbs, self.rungs, before, strict=False)
        searched = sum(trials * (rung - below) for trials, rung, below in steps)
        return searched + self.again * self.rungs[-1]

    def seconds(self, training: float) -> float:
        """The same in seconds, the start of each trial included.

        Args:
            training: seconds of a whole training.
        """
        return self.trainings * training + (self.climbs[0] + self.again) * START


def ladder(sweep: Sweep, allowed: float, training: float) -> Ladder | None:
    """The rungs that a sweep has; None where its trials would be over before they began.

    Args:
        sweep: its section.
        allowed: seconds that all trials may take.
        training: seconds of a whole training.
    """
    climbs, again = _climbs(sweep), FINALISTS * (sweep.seeds - 1)
    if sweep.first:
        return Ladder(_rungs(sweep, sweep.first), climbs, again)
    unit = Ladder(_rungs(sweep, 1.0), climbs, again)
    left = allowed - (climbs[0] + again) * START
    if left <= 0 or training <= 0:
        return None
    first = min(left / (unit.trainings * training), HALF / unit.rungs[-1])
    return Ladder(_rungs(sweep, first), climbs, again)


def _rungs(sweep: Sweep, first: float) -> tuple[float, ...]:
    return tuple(first * sweep.keep**rung for rung in range(sweep.rungs))


def _climbs(sweep: Sweep) -> tuple[float, ...]:
    """Of n that come to a rung, one after the other, the i-th is among the best with chance k/i."""
    found = [float(sweep.trials)]
    for _ in range(sweep.rungs - 1):
        come = range(1, max(round(found[-1]), 1) + 1)
        found.append(sum(max(1, i // sweep.keep) / i for i in come))
    return tuple(found)
