"""The finalists with other seeds: who is trained, what is compared, and when it is called noise."""

import dataclasses
import json
import math
import time
from pathlib import Path
from typing import Any

import pytest

from tests.tools.sweep.sweeping import BEST, SWEEP, Sweeping, loss
from tests.tools.sweep.trainers import ADAPTER, Script
from tools.recipe.axes import MOST_SEEDS
from tools.sweep import seeds, stage, trial
from tools.sweep.seeds import Compared, Finalist
from tools.sweep.study import Trial

OWN = 1e-3


@pytest.fixture
def sweeping(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Sweeping:
    return Sweeping(tmp_path, dataclasses.replace(SWEEP, seeds=3), monkeypatch)


def lucky(train: dict[str, Any], step: int) -> float:
    """The best rate has luck with the search's seed, and none with others."""
    luck = (-0.5 if "seed" not in train else 4.0) if train["learning_rate"] == BEST else 0.0
    return loss(train, step) + luck


def table(sweeping: Sweeping) -> dict[str, Any]:
    found: dict[str, Any] = json.loads((sweeping.run.path / "sweep" / stage.TABLE).read_text())
    return found


def test_the_winner_and_the_recipes_own_are_trained_with_the_same_seeds(
    sweeping: Sweeping, capsys: pytest.CaptureFixture[str]
) -> None:
    script, asked = Script(loss), []

    class Watched(Script):
        def call(self, *words: Any, **how: Any) -> None:
            asked.append(
                (words[1].recipe.train.get("seed"), words[1].recipe.train["learning_rate"])
            )
            script.call(*words, **how)

    found = sweeping.sweep(Watched(loss))
    first = sweeping.run.recipe.data.seed
    again = [(first + 1, BEST), (first + 1, OWN), (first + 2, BEST), (first + 2, OWN)]
    assert asked[-4:] == again and {seed for seed, _ in asked[:-4]} == {None}
    assert found["values"] == {"train.learning_rate": BEST}, "no seed is a value of the winner's"
    told = table(sweeping)["seeds"]
    assert told["seeds"] == [first, first + 1, first + 2]
    winner, other = told["finalists"]
    assert winner["eval_loss"] == [winner["mean"]] * 3 and other["mean"] > winner["mean"]
    assert told["verdict"] == "more than noise" and told["half"] == 0
    assert "again with seed" in capsys.readouterr().out


def test_who_won_by_luck_gives_way_and_the_other_ones_training_goes_on(sweeping: Sweeping) -> None:
    found = sweeping.sweep(Script(lucky))
    assert found["values"] == {"train.learning_rate": OWN}
    begun = sweeping.winner().unfinished("train") / "checkpoint-20"
    assert (begun / ADAPTER).read_text() == "20 steps"
    assert not list(sweeping.place.glob("*/.adapter.*")), "the others' checkpoints take no room"
    finalists = table(sweeping)["seeds"]["finalists"]
    assert [len(one["eval_loss"]) for one in finalists] == [3, 3]


def test_with_one_seed_nobody_is_trained_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    sweeping = Sweeping(tmp_path, SWEEP, monkeypatch)
    script = Script(lucky)
    assert sweeping.sweep(script)["values"] == {"train.learning_rate": BEST}
    assert script.calls == SWEEP.trials and "seeds" not in table(sweeping)


def test_a_training_that_breaks_with_another_seed_loses(sweeping: Sweeping) -> None:
    def broken(train: dict[str, Any], step: int) -> float:
        return math.nan if "seed" in train and train["learning_rate"] == BEST else loss(train, step)

    assert sweeping.sweep(Script(broken))["values"] == {"train.learning_rate": OWN}
    told = table(sweeping)["seeds"]
    assert told["finalists"][1]["eval_loss"][1:] == [None, None]
    assert told["verdict"] == "the other one broke" and told["half"] is told["gain"] is None


def test_when_time_is_up_the_seeds_that_both_have_count(
    sweeping: Sweeping, capsys: pytest.CaptureFixture[str]
) -> None:
    class Slow(Script):
        def call(self, *words: Any, **how: Any) -> None:
            if self.calls == SWEEP.trials + 3:
                raise trial.child.Overdue("too long")
            super().call(*words, **how)

    found = sweeping.sweep(Slow(lucky))
    assert found["stopped"] == "time" and len(table(sweeping)["seeds"]["seeds"]) == 2
    assert "its share of the day is over; seeds that both have" in capsys.readouterr().out


def test_without_the_recipes_own_values_the_next_best_is_compared(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    rates = [3e-4, 3e-3, 3e-2, 1e-2]
    axes = {
        "train.learning_rate": dataclasses.replace(SWEEP.axes["train.learning_rate"], values=rates)
    }
    sweep = dataclasses.replace(SWEEP, axes=axes, trials=4, rungs=1, seeds=2)
    sweeping = Sweeping(tmp_path, sweep, monkeypatch)
    sweeping.sweep(Script(loss))
    told = table(sweeping)
    pair = [told["trials"][one["trial"]]["values"] for one in told["seeds"]["finalists"]]
    assert pair == [{"train.learning_rate": BEST}, {"train.learning_rate": 1e-2}]
    assert told["own"] is None


def test_where_nobody_else_came_to_the_last_rung_nobody_is_compared(
    sweeping: Sweeping, capsys: pytest.CaptureFixture[str]
) -> None:
    def alone(train: dict[str, Any], step: int) -> float:
        return loss(train, step) if train["learning_rate"] == OWN else math.nan

    script = Script(alone)
    assert sweeping.sweep(script)["values"] == {"train.learning_rate": OWN}
    assert script.calls == SWEEP.trials and "seeds" not in table(sweeping)
    assert "nobody else came to the last rung" in capsys.readouterr().out


def compared(ours: tuple[float, ...], theirs: tuple[float, ...]) -> Compared:
    pair = [
        Finalist(Trial(at, {}, (losses[0],), "done"), dict(enumerate(losses)))
        for at, losses in enumerate((ours, theirs))
    ]
    return Compared(pair[0], pair[1], tuple(range(len(ours))))


def test_as_student_has_it() -> None:
    """His ten patients: a mean of 1.58 hours and t = 4.06, as R's own example of paired sleep."""
    more = (1.9, 0.8, 1.1, 0.1, -0.1, 4.4, 5.5, 1.6, 4.6, 3.4)
    less = (0.7, -1.6, -0.2, -1.2, -0.1, 3.4, 3.7, 0.8, 0.0, 2.0)
    made = compared(less, more)
    assert made.gain == pytest.approx(1.58) and made.half is not None
    ends = (made.gain - made.half, made.gain + made.half)
    assert ends == (pytest.approx(0.7001, abs=1e-3), pytest.approx(2.4599, abs=1e-3))
    assert made.verdict == "more than noise"


def test_what_seeds_do_themselves_is_noise() -> None:
    made = compared((1.0, 1.2, 1.1), (1.1, 1.1, 1.15))
    assert made.gain > 0 and made.verdict == "not more than noise"
    assert seeds.summary(made) == (
        "sweep: mean eval_loss over 3 seeds: trial 0 1.1000 (1.0000 1.2000 1.1000), trial 1 1.1167 "
        f"(1.1000 1.1000 1.1500), 0.0167 less, give or take {made.half:.4f}: not more than noise"
    )


def test_where_both_broke_nothing_is_known() -> None:
    made = compared((1.0, math.inf), (1.1, math.inf))
    assert made.verdict == "not more than noise: both broke" and "broken" in seeds.summary(made)
    told = seeds.as_json(made)
    assert told and told["gain"] is None and json.dumps(told, allow_nan=False)


def test_every_number_of_seeds_that_check_takes_has_a_quantile() -> None:
    for count in range(2, MOST_SEEDS + 1):
        assert compared((1.0,) * count, (2.0,) * count).half == 0


def test_the_time_of_seeds_is_the_sweeps(sweeping: Sweeping) -> None:
    class Timed(Script):
        def call(self, *words: Any, **how: Any) -> None:
            given.append(how["seconds"])
            time.sleep(0.05)
            super().call(*words, **how)

    given: list[float] = []
    sweeping.sweep(Timed(loss), limit=100.0)
    assert len(given) == SWEEP.trials + 4
    assert given == sorted(given, reverse=True) and given[0] - given[-1] >= 0.05 * 9
