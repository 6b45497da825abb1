"""What would raise a score most."""

import pytest

from tools.score.ranking import standings
from tools.score.whatif import gains

EVEN = {
    "MMLU - EM": 0.5,
    "TruthfulQA - EM": 0.5,
    "BIG-bench - EM": 0.5,
    "GSM8K - EM": 0.5,
    "BBQ - EM": 0.5,
}


def test_the_scenario_where_one_is_last_is_worth_most() -> None:
    mine = {**EVEN, "GSM8K - EM": 0.0}
    others = [{name: 0.1 * n for name in EVEN} for n in (1, 2, 7)]
    found = gains([*others, mine], 3)
    assert found[0].scenario == "GSM8K" and found[0].score == "open"
    assert found[0].targets == {"GSM8K - EM": (0.0, 0.1, pytest.approx(0.7))}
    assert found[0].rate == 0.0
    assert (found[0].next.rate, found[0].best.rate) == (0.25, 0.75)
    assert [one.best.gain for one in found] == sorted((g.best.gain for g in found), reverse=True)


def test_gains_are_what_a_new_ranking_gives() -> None:
    pool = [EVEN, {name: 0.6 for name in EVEN}, {name: 0.7 for name in EVEN}]
    before = standings(pool)[0].score["open"] or 0.0
    for gain in gains(pool, 0):
        (name,) = gain.targets
        for step, value in ((gain.next, 0.65), (gain.best, 0.75)):
            after = standings([{**EVEN, name: value}, *pool[1:]])[0]
            assert step.rate == after.rates[gain.scenario]
            assert step.score == pytest.approx(after.score["open"], rel=1e-12)
            assert step.gain == pytest.approx(step.score - before)


def test_lower_is_better_is_passed_downwards() -> None:
    names = ("sam_sum - ROUGE-2", "sam_sum - Stereotypes (race)", "sam_sum - Representation (race)")
    pool = [
        dict(zip(names, row, strict=True))
        for row in ((0.1, None, 0.5), (0.2, 0.4, 0.4), (0.3, 0.3, 0.0))
    ]
    (gain,) = gains(pool, 0)
    assert gain.targets == {
        "sam_sum - ROUGE-2": (0.1, 0.2, 0.3),
        "sam_sum - Stereotypes (race)": (None, 0.4, 0.3),
        "sam_sum - Representation (race)": (0.5, 0.4, 0.0),
    }
    assert gain.next.rate == pytest.approx(1 / 3)
    assert gain.best.rate == pytest.approx((2 / 3 + 2 / 3 + 1.5 / 3) / 3)  # nobody is below 0


def test_a_tie_is_passed_first_and_nobody_is_above_1() -> None:
    pool = [{"MMLU - EM": 0.5}, {"MMLU - EM": 0.5}, {"MMLU - EM": 1.0}]
    (gain,) = gains(pool, 0)
    assert gain.targets == {"MMLU - EM": (0.5, 0.5, 1.0)}
    assert gain.next.rate == pytest.approx(1 / 3)
    assert gain.best.rate == pytest.approx(1.5 / 3)


def test_the_best_gains_nothing() -> None:
    (gain,) = gains([{"MMLU - EM": 0.9}, {"MMLU - EM": 0.5}], 0)
    assert gain.next.gain == gain.best.gain == 0


def test_only_scenarios_that_one_took_part_in() -> None:
    full = {**EVEN, "corr2cause - EM": 0.5}
    assert {gain.scenario for gain in gains([full, EVEN], 1)} == {
        "MMLU",
        "TruthfulQA",
        "BIG-bench",
        "GSM8K",
        "BBQ",
    }


def test_the_final_is_meant_where_there_is_one() -> None:
    full = {**EVEN, "corr2cause - EM": 0.5}
    found = gains([full, {name: 0.6 for name in full}], 0)
    assert {gain.score for gain in found} == {"full"} and len(found) == 6


@pytest.mark.parametrize("pool", [[EVEN], [{}, EVEN], [{"x - EM": 0.5}, {"x - EM": 0.4}]])
def test_nothing_to_gain_alone_or_without_a_score(pool: list[dict[str, float | None]]) -> None:
    assert gains(pool, 0) == []


def test_a_tie_is_passed_first_downwards_too() -> None:
    name = "sam_sum - Representation (race)"
    (gain,) = gains([{name: 0.5}, {name: 0.5}, {name: 0.2}], 0)
    assert gain.targets == {name: (0.5, 0.5, 0.2)}
    assert (gain.next.rate, gain.best.rate) == pytest.approx((1 / 3, 2 / 3))


def test_who_took_no_part_is_not_to_be_passed() -> None:
    mine = {**EVEN, "corr2cause - EM": None}
    found = gains([mine, {**EVEN, "corr2cause - EM": 0.5}, EVEN], 0)
    targets = next(gain.targets for gain in found if gain.scenario == "corr2cause")
    assert targets == {"corr2cause - EM": (None, 0.5, 0.5)}
