"""The winner once more, with other seeds: is it better by its values, or by luck?

Held against it are the recipe's own values; where these were not tried, did not come to the last
rung or won, the next best that came there. Both are trained to the last rung again with the same
seeds, and the lower mean wins. Whether they differ by more than seeds do, a paired t interval says
(Student, Biometrika 6, 1908): with three seeds it is wide.
"""

import math
import statistics
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

from tools.console import say
from tools.day.rungs import FINALISTS
from tools.recipe.axes import SEED
from tools.recipe.schema import Recipe
from tools.score.difference import NOISE
from tools.sweep.search import Broken, TimeUp
from tools.sweep.study import Study, Trial
from tools.sweep.trial import Trials, drop_checkpoints

# The middle 95 % of Student's distribution, by the number of pairs.
_STUDENT = {2: 12.706, 3: 4.303, 4: 3.182, 5: 2.776, 6: 2.571, 7: 2.447, 8: 2.365, 9: 2.306,
            10: 2.262}  # fmt: skip


@dataclass(frozen=True)
class Finalist:
    """A setting that was trained with several seeds.

    Attributes:
        trial: that it was in the search.
        losses: eval_loss at the last rung by seed, the search's own first; infinite where it broke.
    """

    trial: Trial
    losses: dict[int, float]


@dataclass(frozen=True)
class Compared:
    """Two finalists, over the seeds that both were trained with.

    Attributes:
        winner: whose mean is lower; where they are level, who won the search.
        other: the other one.
        seeds: that both have.
    """

    winner: Finalist
    other: Finalist
    seeds: tuple[int, ...]

    def mean(self, one: Finalist) -> float:
        """Of its losses."""
        return statistics.fmean(one.losses[seed] for seed in self.seeds)

    @property
    def gain(self) -> float:
        """How much lower the winner's mean is."""
        return self.mean(self.other) - self.mean(self.winner)

    @property
    def half(self) -> float | None:
        """Half of the gain's 95 % interval; None where a training broke."""
        pairs = [self.other.losses[seed] - self.winner.losses[seed] for seed in self.seeds]
        if not all(map(math.isfinite, pairs)):
            return None
        return _STUDENT[len(pairs)] * statistics.stdev(pairs) / math.sqrt(len(pairs))

    @property
    def verdict(self) -> str:
        """Whether they differ by more than seeds do."""
        if self.half is not None:
            return "more than noise" if self.gain > self.half else NOISE
        return f"{NOISE}: both broke" if math.isnan(self.gain) else "the other one broke"


def chosen(study: Study) -> list[Trial]:
    """Who is trained again, as far as the search is: the best first; at most two."""
    top = [one for one in study.trials() if one.state == "done"]
    best, own = min(top, key=lambda one: one.rank, default=None), study.own()
    if best is None:
        return []
    others = sorted((one for one in top if one != best), key=lambda one: (one != own, one.rank))
    return [best, *others[: FINALISTS - 1]]


def first_seed(recipe: Recipe) -> int:
    """The seed that the search trains with."""
    return int(recipe.train.get("seed", recipe.data.seed))


def train_again(study: Study, trials: Trials, count: int) -> bool:
    """Train the finalists with the other seeds, one after the other, a seed after the other.

    What was made before is in the study, and what is half made goes on from its checkpoint.

    Args:
        study: its search is over.
        trials: makes a trial of values.
        count: of seeds, the search's own among them.

    Returns:
        Whether all were made; else their time was over.
    """
    pair, begun = chosen(study), first_seed(trials.run.recipe)
    if len(pair) < FINALISTS:
        if count > 1:
            say("sweep: nobody else came to the last rung, so nobody is trained with other seeds")
        return True
    number = len(study.trials())
    for seed in range(begun + 1, begun + count):
        for one in pair:
            again = replace(one, number=number, values={**one.values, SEED: seed}, told=())
            try:
                _train(study, trials, one, again)
            except TimeUp:
                say("sweep: its share of the day is over; seeds that both have are compared")
                return False
            number += 1
    return True


def _train(study: Study, trials: Trials, one: Trial, again: Trial) -> None:
    """Train a finalist with a seed, where that is not done."""
    seed = again.values[SEED]
    if study.kept(_name(one, seed)) is not None:
        return
    last: list[float] = []

    def judge(rung: int, loss: float) -> bool:
        last[:] = [loss]
        return rung + 1 < len(trials.rungs)

    try:
        trials.attempt(again, judge)
        found: dict[str, Any] = {"eval_loss": last[-1], "reason": ""}
    except Broken as broken:
        found = {"eval_loss": None, "reason": str(broken)}
    study.note(_name(one, seed), found)
    # Its own alone: the next one may be half made, and the winner's training goes on.
    others = {int(folder.name) for folder in trials.place.glob("[0-9]*")} - {again.number}
    drop_checkpoints(trials.place, others)
    told = found["reason"].partition("\n")[0] or f"eval_loss {found['eval_loss']:.4f}"
    say(f"sweep: trial {one.number} again with seed {seed}: {told}")


def _name(trial: Trial, seed: int) -> str:
    return f"trial {trial.number} seed {seed}"


def compared(study: Study, recipe: Recipe, count: int) -> Compared | None:
    """The finalists over the seeds that both have; None where there are not two of either.

    Args:
        study: in which ``train_again`` keeps what it finds.
        recipe: the run's.
        count: of seeds.
    """
    begun = first_seed(recipe)
    pair = [_finalist(study, one, begun, count) for one in chosen(study)]
    if count < 2 or len(pair) < FINALISTS:
        return None
    seeds = tuple(seed for seed in pair[0].losses if seed in pair[1].losses)
    if len(seeds) < 2:
        return None
    made = Compared(pair[0], pair[1], seeds)
    return replace(made, winner=pair[1], other=pair[0]) if made.gain < 0 else made


def _finalist(study: Study, trial: Trial, begun: int, count: int) -> Finalist:
    losses = {begun: trial.told[-1]}
    for seed in range(begun + 1, begun + count):
        if (found := study.kept(_name(trial, seed))) is not None:
            loss = found["eval_loss"]
            losses[seed] = math.inf if loss is None else loss
    return Finalist(trial, losses)


def as_json(made: Compared | None) -> dict[str, Any] | None:
    """The same for the file of the trials; a broken training's loss is null."""
    if made is None:
        return None
    both: Sequence[Finalist] = (made.winner, made.other)
    return {
        "seeds": list(made.seeds),
        "finalists": [
            {
                "trial": one.trial.number,
                "eval_loss": [_finite(one.losses[seed]) for seed in made.seeds],
                "mean": _finite(made.mean(one)),
            }
            for one in both
        ],
        "gain": _finite(made.gain),
        "half": made.half,
        "verdict": made.verdict,
    }


def _text(loss: float) -> str:
    return f"{loss:.4f}" if math.isfinite(loss) else "broken"


def _finite(value: float) -> float | None:
    return value if math.isfinite(value) else None


def summary(made: Compared) -> str:
    """The comparison in one line."""
    told = ", ".join(
        f"trial {one.trial.number} {_text(made.mean(one))} "
        f"({' '.join(_text(one.losses[seed]) for seed in made.seeds)})"
        for one in (made.winner, made.other)
    )
    half = "" if made.half is None else f", {made.gain:.4f} less, give or take {made.half:.4f}"
    return f"sweep: mean eval_loss over {len(made.seeds)} seeds: {told}{half}: {made.verdict}"
