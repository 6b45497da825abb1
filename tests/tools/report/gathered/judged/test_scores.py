"""Base beside tuned."""

import math
import shutil

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tools.report.gathered.judged.scores import changed, scores, sign_test
from tools.report.gathered.source import Source
from tools.run.folder import Run

COUNT = st.integers(0, 60)


@pytest.mark.parametrize("gained, lost, chance", [(5, 0, 0.0625), (6, 0, 0.03125), (1, 1, 1.0)])
def test_sign_test_of_small_counts(gained: int, lost: int, chance: float) -> None:
    assert sign_test(gained, lost) == chance


@given(COUNT, COUNT)
def test_sign_test_is_a_chance_and_takes_no_side(gained: int, lost: int) -> None:
    found = sign_test(gained, lost)
    assert 0 < found <= 1 and found == sign_test(lost, gained)
    if gained == lost:
        assert found == 1


@given(COUNT, COUNT)
def test_sign_test_is_all_splits_as_uneven(gained: int, lost: int) -> None:
    total, gap = gained + lost, abs(gained - lost)
    ways = sum(math.comb(total, k) for k in range(total + 1) if abs(total - 2 * k) >= gap)
    assert sign_test(gained, lost) == pytest.approx(ways / 2**total)


def test_only_questions_that_both_answered_change_hands() -> None:
    base, tuned = {"a": 0.0, "b": 1.0, "c": 0.0}, {"a": 1.0, "b": 0.0, "d": 1.0}
    assert changed(base, tuned) == {"gained": 1, "lost": 1}
    assert changed({}, tuned) == {"gained": None, "lost": None}


def test_scenarios_are_the_means_of_their_run_specs(whole: Run) -> None:
    found = scores(Source(whole))
    by_name = {each["scenario"]: each for each in found["scenarios"]}
    assert list(by_name) == ["mmlu", "oneday: counting"]
    mmlu, counting = by_name["mmlu"], by_name["oneday: counting"]
    assert (mmlu["base"], mmlu["tuned"]) == (0.25, 0.375) and mmlu["instances"] == 6
    assert (mmlu["gained"], mmlu["lost"], mmlu["verdict"]) == (1, 0, "")
    assert (counting["gained"], counting["lost"], counting["verdict"]) == (6, 0, "better")
    assert counting["trained"] and not mmlu["trained"] and found["tier"] == "tier"
    skills = found["means"]["trained skills"]
    assert (skills["base"], skills["tuned"]) == (0.125, 0.875)


def test_one_model_alone_is_shown_without_a_difference(whole: Run) -> None:
    shutil.rmtree(whole.output("eval_tuned"))
    found = scores(Source(whole))
    assert found["models"] == ["base"]
    assert {each["difference"] for each in found["scenarios"]} == {None}
    assert found["means"]["trained skills"]["base"] == 0.125
