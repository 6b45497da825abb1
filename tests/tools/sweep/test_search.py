"""The search on made-up surfaces: no training, the same rungs, draws and decisions."""

import math
import random
from pathlib import Path
from typing import Any

import pytest

from tools.day.rungs import ladder
from tools.recipe.schema import Axis, Sweep
from tools.sweep.search import Broken, Judge, TimeUp, search
from tools.sweep.study import Study, Trial

RATES = [1e-4 * 3**power for power in range(9)]
RANKS = [4, 8, 16]
GRID = {"train.learning_rate": Axis(values=RATES), "train.lora_r": Axis(values=RANKS)}
SEEDS = range(10)


def surface(seed: int) -> dict[tuple[float, int], float]:
    """The loss that each of 27 settings ends with; the best is somewhere else for each seed."""
    rng = random.Random(seed)
    rate, rank = rng.choice(RATES), rng.choice(RANKS)
    return {
        (x, y): 1 + 0.1 * abs(math.log(x / rate)) + 0.05 * abs(math.log(y / rank))
        for x in RATES
        for y in RANKS
    }


class Simulated:
    """Trainings whose loss falls towards its end, with noise on the way."""

    def __init__(self, sweep: Sweep, seed: int) -> None:
        made = ladder(sweep, 1e9, 1.0)
        assert made is not None
        self.rungs, self.seed = [rung / made.rungs[-1] for rung in made.rungs], seed
        self.ends, self.spent = surface(seed), 0.0

    def loss(self, trial: Trial, rung: int) -> float:
        values: Any = tuple(trial.values.values())
        noise = random.Random(f"{self.seed}/{values}/{rung}").gauss(0, 0.01)
        return self.ends[values] + 2 * (1 - self.rungs[rung]) + noise * (1 - self.rungs[rung])

    def attempt(self, trial: Trial, judge: Judge) -> None:
        before = 0.0
        for rung, share in enumerate(self.rungs):
            self.spent, before = self.spent + share - before, share
            if not judge(rung, self.loss(trial, rung)):
                return


def study(folder: Path | None, sweep: Sweep, own: dict[str, Any] | None = None) -> Study:
    """In a file of the folder, or in memory."""
    return Study(sweep, f"sqlite:///{folder}/study.db" if folder else "sqlite://", "test", own)


def halving(**values: Any) -> Sweep:
    return Sweep(GRID, **{"trials": 27, "sampler": "grid", **values})


def test_halving_finds_the_best_of_27_in_a_third_of_the_grids_time() -> None:
    """A grid trains all 27 to the last rung."""
    found, costs = [], []
    for seed in SEEDS:
        made = study(None, sweep := halving(seed=seed, rungs=4))
        simulated = Simulated(sweep, seed)
        assert search(made, simulated.attempt)
        best = made.best()
        assert best is not None and best.state == "done"
        right = min(simulated.ends, key=lambda one: simulated.ends[one])
        found.append(tuple(best.values.values()) == right)
        costs.append(simulated.spent / 27)
    good = sum(right and cost <= 0.35 for right, cost in zip(found, costs, strict=True))
    assert good >= 9, list(zip(found, costs, strict=True))


def test_what_a_sweep_will_cost_is_told_before() -> None:
    sweep = halving()
    made = ladder(sweep, 1e9, 1.0)
    assert made is not None
    spent = []
    for seed in range(4):
        simulated = Simulated(sweep, seed)
        search(study(None, sweep), simulated.attempt)
        spent.append(simulated.spent * made.rungs[-1])
    assert sum(spent) / 4 == pytest.approx(made.trainings, rel=0.2)


class Killed(Exception):
    """As ``kill -9``: nobody puts anything in order."""


@pytest.mark.parametrize("sampler", ["tpe", "random", "grid"])
def test_a_search_killed_again_and_again_is_the_same(tmp_path: Path, sampler: Any) -> None:
    sweep = halving(sampler=sampler, trials=12)
    (tmp_path / "one").mkdir()
    (tmp_path / "other").mkdir()
    whole = study(tmp_path / "one", sweep)
    search(whole, Simulated(sweep, 3).attempt)
    rng, kills = random.Random(5), 0
    while True:
        simulated = Simulated(sweep, 3)

        def attempt(trial: Trial, judge: Judge, simulated: Simulated = simulated) -> None:
            def dying(rung: int, loss: float) -> bool:
                if rng.random() < 0.2:
                    raise Killed  # before it was told
                goes_on = judge(rung, loss)
                if rng.random() < 0.2:
                    raise Killed
                return goes_on

            simulated.attempt(trial, dying)

        try:
            search(study(tmp_path / "other", sweep), attempt)
            break
        except Killed:
            kills += 1
    assert kills >= 5
    assert study(tmp_path / "other", sweep).trials() == whole.trials()


def test_no_setting_is_tried_twice(tmp_path: Path) -> None:
    axes = {"train.lora_r": Axis(values=RANKS), "train.lora_alpha": Axis(values=[8, 16])}
    made = study(tmp_path, Sweep(axes, trials=6, rungs=1))
    search(made, lambda trial, judge: (judge(0, trial.values["train.lora_r"]), None)[1])
    tried = [tuple(one.values.values()) for one in made.trials()]
    assert len(tried) == len(set(tried)) == 6


def test_the_recipe_itself_is_tried_first(tmp_path: Path) -> None:
    axes = {"train.learning_rate": Axis(log=[1e-4, 1e-2]), "train.lora_r": Axis(range=[4, 64])}
    own = {"train.learning_rate": 3e-4, "train.lora_r": 16}
    made = study(tmp_path, Sweep(axes, trials=4), own)
    search(made, lambda trial, judge: (judge(0, 1.0), judge(1, 1.0), judge(2, 1.0), None)[3])
    first, *others = [one.values for one in made.trials()]
    assert first == own
    assert all(1e-4 <= one["train.learning_rate"] <= 1e-2 for one in others)
    assert all(isinstance(one["train.lora_r"], int) for one in others)
    elsewhere = Study(Sweep(axes), "sqlite://", "other", {**own, "train.lora_r": 128}).next()
    assert elsewhere is not None and elsewhere.values != own


def test_a_broken_training_is_lost_and_the_others_go_on(tmp_path: Path) -> None:
    made = study(tmp_path, halving(trials=9, sampler="random"))

    def attempt(trial: Trial, judge: Judge) -> None:
        if trial.number in (0, 4):
            raise Broken("loss became nan by step 3")
        for rung in range(3):
            if not judge(rung, trial.values["train.learning_rate"]):
                return

    assert search(made, attempt)
    lost = [one for one in made.trials() if one.reason]
    assert [one.number for one in lost] == [0, 4]
    assert lost[0].told == (math.inf,) and "nan" in lost[0].reason
    best = made.best()
    assert best is not None and best.state == "done"


def test_where_all_broke_there_is_no_winner(tmp_path: Path) -> None:
    made = study(tmp_path, halving(trials=3))

    def attempt(trial: Trial, judge: Judge) -> None:
        raise Broken("no memory")

    assert search(made, attempt)
    assert made.best() is None


def test_when_time_is_up_the_best_so_far_wins(tmp_path: Path) -> None:
    made = study(tmp_path, halving(trials=9))
    simulated = Simulated(halving(trials=9), 1)

    def attempt(trial: Trial, judge: Judge) -> None:
        if trial.number == 4:
            judge(0, 0.0)  # it came to a rung, and no farther
            raise TimeUp
        simulated.attempt(trial, judge)

    assert not search(made, attempt)
    best = made.best()
    assert best is not None and best.state == "done" and best.number < 4
    again = made.next()
    assert again is not None and again.number == 4, "it would go on where it was"
