"""How far trials go, and what they are expected to cost."""

import dataclasses

import pytest

from tools.day.rungs import HALF, START, ladder
from tools.recipe.schema import Axis, Sweep

SWEEP = Sweep({"train.lora_r": Axis(values=[8, 16])}, trials=9, keep=3, rungs=3)


def test_rungs_are_so_far_that_the_share_is_used_and_not_passed() -> None:
    made = ladder(SWEEP, 3600, 36000)
    assert made is not None
    assert made.seconds(36000) == pytest.approx(3600)
    assert made.rungs[1] / made.rungs[0] == made.rungs[2] / made.rungs[1] == pytest.approx(3)


def test_other_seeds_have_their_part_of_the_share() -> None:
    with_seeds = ladder(dataclasses.replace(SWEEP, seeds=3), 3600, 36000)
    without = ladder(SWEEP, 3600, 36000)
    assert with_seeds is not None and without is not None
    assert with_seeds.again == 4 and with_seeds.seconds(36000) == pytest.approx(3600)
    assert with_seeds.rungs[-1] < without.rungs[-1]
    assert ladder(dataclasses.replace(SWEEP, seeds=3), 13 * START, 100) is None


def test_with_much_time_no_trial_goes_beyond_the_half_of_a_training() -> None:
    made = ladder(SWEEP, 1e9, 100)
    assert made is not None and made.rungs[-1] == pytest.approx(HALF)


def test_a_first_rung_that_is_asked_for_is_taken() -> None:
    made = ladder(dataclasses.replace(SWEEP, first=0.02), 1, 0)
    assert made is not None and made.rungs == pytest.approx((0.02, 0.06, 0.18))


def test_more_climb_than_one_in_three_for_the_first_one_always_does() -> None:
    made = ladder(SWEEP, 1e9, 100)
    assert made is not None
    assert made.climbs[0] == 9 and 3 < made.climbs[1] < 4 and 1 < made.climbs[2] < 2


def test_where_the_starts_alone_take_longer_there_is_no_ladder() -> None:
    assert ladder(SWEEP, 9 * START, 100) is None
    assert ladder(SWEEP, 1e6, 0) is None, "how long a training takes is not known"
