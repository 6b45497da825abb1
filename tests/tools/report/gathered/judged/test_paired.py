"""Two models on the same questions."""

import math
import statistics

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tools.report.gathered.judged.interval import of_mean, wilson
from tools.report.gathered.judged.paired import Score, changed, judged, pair, sign_test, together

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


def score(values: dict[str, float], shares: bool = True, shift: float = 0.0) -> Score:
    return Score(statistics.fmean(values.values()) + shift, len(values), shares, values)


def test_an_interval_is_of_the_questions_where_they_give_the_value() -> None:
    graded = {"a": 0.5, "b": 1.0, "c": 0.0}
    assert score(graded, shares=False).interval == of_mean([0.5, 1.0, 0.0])
    assert score({"a": 1.0, "b": 0.0}, shares=False).interval == wilson(0.5, 2)
    # HELM's figure is no mean of them (a perturbation's, say): of a share n is enough, else none.
    assert score(graded, shares=False, shift=0.1).interval is None
    assert score({"a": 1.0, "b": 0.0}, shift=0.1).interval == wilson(0.6, 2)
    assert Score(None, 4, True).interval is None and Score(0.5, 4, False).interval is None


def test_a_model_that_was_not_asked_has_no_difference() -> None:
    found = pair(Score(None, 0, False), score({"a": 1.0}))
    assert found["intervals"]["difference"] is None is found["intervals"]["base"] is found["gained"]
    whole = together([{"base": None, "tuned": 1.0, **found}])
    assert whole["difference"] is None is whole["base"] and whole["intervals"]["tuned"]


@pytest.mark.parametrize(
    "specs, verdict",
    [([(6, 0)], "better"), ([(3, 0), (3, 0)], "better"), ([(0, 6)], "worse"), ([(5, 0)], "")],
)
def test_a_verdict_counts_all_run_specs(specs: list[tuple[int, int]], verdict: str) -> None:
    found = judged([{"gained": gained, "lost": lost} for gained, lost in specs])
    assert found["verdict"] == verdict
    assert judged([{"gained": None, "lost": None}])["verdict"] == ""
