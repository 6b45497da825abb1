"""What the plan says of a sweep."""

import dataclasses
from pathlib import Path

import pytest

from tools.plan import trials, verdict
from tools.plan.verdict import Plan, plan
from tools.recipe.load import load
from tools.recipe.schema import Axis, Sweep

SWEEP = Sweep({"train.lora_r": Axis(values=list(range(1, 28)))})


@pytest.fixture
def planned(tmp_path: Path) -> Plan:
    return plan(load(Path("recipes/cpu.yaml")).recipe, tmp_path)


def with_sweep(planned: Plan, **values: object) -> Plan:
    sweep = dataclasses.replace(SWEEP, **values)  # type: ignore[arg-type]
    return dataclasses.replace(planned, recipe=dataclasses.replace(planned.recipe, sweep=sweep))


def test_how_many_trials_of_which_length_fit(planned: Plan) -> None:
    said = trials.render(with_sweep(planned))
    assert said.startswith("sweep: 0:17:49 of the day (sweep.share 0.3): 9 trials to ")
    assert "fits; the start of each trial is in it" in said
    assert "or  27 trials" in said, "fewer steps for more of them"


def test_rungs_that_are_asked_for_may_be_too_far(planned: Plan) -> None:
    said = trials.render(with_sweep(planned, first=0.099, share=0.05))
    assert "does not fit: the clock ends it" in said
    told = trials.as_json(with_sweep(planned, first=0.099, share=0.05))
    assert told is not None and told["expected_seconds"] > told["seconds"]


def test_other_seeds_are_counted(planned: Plan) -> None:
    said = trials.render(with_sweep(planned, seeds=3))
    assert "  again         4   trainings in it: the winner and one more to the last rung" in said
    told, before = (trials.as_json(with_sweep(planned, seeds=n)) for n in (3, 1))
    assert told and before and (told["again"], before["again"]) == (4, 0)
    assert told["rungs"][-1] < before["rungs"][-1]
    assert told["expected_seconds"] == pytest.approx(before["expected_seconds"], rel=0.01)


def test_too_short_a_share_has_no_trial(planned: Plan) -> None:
    assert "no trial is planned: too short to start" in trials.render(
        with_sweep(planned, share=0.01)
    )


def test_nothing_is_said_without_a_sweep_or_behind_it(planned: Plan) -> None:
    assert trials.render(planned) == "" and trials.as_json(planned) is None
    assert trials.render(with_sweep(planned, work="made")) == ""


def test_a_training_that_fits_an_unswept_day_alone_is_told(planned: Plan) -> None:
    """What trials may use is no time of the training's."""
    assert planned.hours and verdict._judge(planned)["time"] == "fits"
    share = 1 - 0.9 * planned.hours.low / planned.day
    assert verdict._judge(with_sweep(planned, share=share))["time"] == "does not fit"
