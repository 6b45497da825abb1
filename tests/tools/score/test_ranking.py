"""The organizers' formula, by hand, by properties, and on what they published."""

import json
import math
from collections.abc import Sequence
from pathlib import Path
from random import Random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tools.score.ranking import (
    LEAST,
    Metrics,
    board,
    column,
    geometric_mean,
    ranks,
    standings,
    win_rates,
)

PUBLISHED = Path(__file__).resolve().parents[4] / "shared" / "golden" / "final_4090.json"
OPEN = ("MMLU - EM", "TruthfulQA - EM", "BIG-bench - EM", "GSM8K - EM", "BBQ - EM")
HIDDEN = (
    "sam_sum - ROUGE-2",
    "corr2cause - EM",
    "MATH (chain-of-thoughts) - Equivalent (chain of thought)",
    "ethics_virtue - EM",
)
VALUES = st.lists(st.integers(-5, 5).map(float), min_size=1, max_size=12)


def test_the_published_entries_come_out() -> None:
    if not PUBLISHED.is_file():
        pytest.skip(f"no {PUBLISHED.name}: the published results are not beside this checkout")
    entries = json.loads(PUBLISHED.read_text(encoding="utf-8"))["entries"]
    assert len(entries) == 8
    for entry, found in zip(entries, standings([e["metrics"] for e in entries]), strict=True):
        assert found.rates == pytest.approx(entry["mean_win_rate"], abs=1e-12, rel=1e-12)
        assert list(found.rates) == list(entry["mean_win_rate"])
        assert found.score == pytest.approx(entry["score"], abs=1e-12, rel=1e-12)
        assert found.others == {}


def test_its_columns_are_the_board() -> None:
    if not PUBLISHED.is_file():
        pytest.skip(f"no {PUBLISHED.name}: the published results are not beside this checkout")
    entries = json.loads(PUBLISHED.read_text(encoding="utf-8"))["entries"]
    assert set(board()) == set(entries[0]["metrics"])


@pytest.mark.parametrize(
    ("values", "lower", "times_n"),
    [
        ([0.3], False, [0]),
        ([0.1, 0.2, 0.3], False, [0, 1, 2]),
        ([0.1, 0.2, 0.3], True, [2, 1, 0]),
        ([0.2, 0.2], False, [1 / 2, 1 / 2]),
        ([0.1, 0.2, 0.2], False, [0, 1.5, 1.5]),
        ([0, 0, 0, 0, 1], False, [1 / 4] * 4 + [4]),
        ([1000, 1000, 1000, 0.5], True, [1 / 3, 1 / 3, 1 / 3, 3]),
        ([2 / 3, math.nextafter(2 / 3, 0)], True, [0, 1]),
    ],
)
def test_win_rates(values: list[float], lower: bool, times_n: list[float]) -> None:
    assert win_rates(values, lower) == pytest.approx([one / len(values) for one in times_n])


@given(VALUES, st.booleans())
def test_win_rates_as_the_rule_is_written(values: list[float], lower: bool) -> None:
    """The rule word for word: who is beaten, and 1/(c(c-1)) for each other that is level."""
    count = len(values)
    expected = []
    for at, value in enumerate(values):
        others = values[:at] + values[at + 1 :]
        beaten = sum(1 for other in others if (other > value if lower else other < value))
        level = sum(1 for other in others if other == value)
        sharing = level + 1
        expected.append((beaten + sum(1 / (sharing * (sharing - 1)) for _ in range(level))) / count)
    assert win_rates(values, lower) == pytest.approx(expected, abs=1e-15)


@given(VALUES, st.randoms())
def test_order_does_not_matter(values: list[float], random: Random) -> None:
    order = list(range(len(values)))
    random.shuffle(order)
    rates = win_rates(values)
    assert win_rates([values[at] for at in order]) == [rates[at] for at in order]


@given(VALUES)
def test_lower_is_better_is_the_mirror(values: list[float]) -> None:
    assert win_rates(values, True) == win_rates([-value for value in values])


def test_a_zero_all_but_zeroes_the_stage() -> None:
    assert geometric_mean([0.25, 0.25]) == pytest.approx(0.25)
    assert geometric_mean([0.0]) == LEAST
    assert geometric_mean([0.0, 0.5]) == pytest.approx(math.sqrt(0.5) * math.sqrt(LEAST))


def pool(*rows: Sequence[float | None], names: Sequence[str] = (*OPEN, *HIDDEN)) -> list[Metrics]:
    return [dict(zip(names, row, strict=True)) for row in rows]


def test_final_is_a_third_and_two_thirds() -> None:
    better, worse = standings(pool([0.9] * 9, [0.1] * 9))
    assert better.rates == dict.fromkeys(better.rates, 0.5) and len(better.rates) == 9
    assert better.score == pytest.approx({"open": 0.5, "hidden": 0.5, "full": 0.5})
    assert worse.score == pytest.approx({"open": LEAST, "hidden": LEAST, "full": LEAST}, abs=1e-300)
    mixed, other = standings(pool([0.9] * 5 + [0.1] * 4, [0.1] * 5 + [0.9] * 4))
    assert mixed.score["full"] == pytest.approx(0.5 / 3)
    assert other.score["full"] == pytest.approx(1 / 3)


def test_a_scenario_is_the_mean_of_its_columns() -> None:
    names = ("sam_sum - ROUGE-2", "sam_sum - Stereotypes (race)")
    first, second, third = standings(pool([0.3, 0.3], [0.2, 0.1], [0.1, None], names=names))
    assert first.rates["sam_sum"] == pytest.approx((2 / 3 + 1 / 3) / 2)
    assert second.rates["sam_sum"] == pytest.approx((1 / 3 + 2 / 3) / 2)
    assert third.rates["sam_sum"] == 0  # fewest of ROUGE-2, and a bias nobody knows is the worst


def test_a_missing_value_is_last() -> None:
    rows = standings(pool([0.0], [None], [0.4], names=["BBQ - EM"]))
    assert [row.rates["BBQ"] for row in rows] == pytest.approx([1 / 6, 1 / 6, 2 / 3])


def test_a_column_that_nobody_has_a_value_for_is_a_tie() -> None:
    rows = standings(pool([None], [None], names=["BBQ - EM"]))
    assert [row.rates for row in rows] == [{"BBQ": 0.25}, {"BBQ": 0.25}]


def test_a_lacking_column_is_a_missing_value() -> None:
    rows = standings([{"MMLU - EM": 0.5, "BBQ - EM": 0.5}, {"MMLU - EM": 0.4}])
    assert rows[0].rates == {"MMLU": 0.5, "BBQ": 0.5}
    assert rows[1].rates == {"MMLU": 0.0, "BBQ": 0.0}


def test_who_was_not_in_a_stage_has_no_score_of_it_and_is_not_counted() -> None:
    published = pool([0.9] * 9, [0.8] * 9)
    mine = dict.fromkeys(OPEN, 0.85)
    rows = standings([*published, mine])
    assert rows[2].score["hidden"] is None and rows[2].score["full"] is None
    assert rows[2].score["open"] == pytest.approx(1 / 3)
    assert rows[2].rates["ethics"] is None
    before = standings(published)
    assert [row.score["hidden"] for row in rows[:2]] == [row.score["hidden"] for row in before]
    failed = dict.fromkeys((*OPEN, *HIDDEN))  # was in it, and has nothing to show
    assert standings([*published, failed])[2].score["full"] == pytest.approx(0.0, abs=1e-300)


def test_scenarios_that_nobody_ran_are_left_out_of_the_mean() -> None:
    rows = standings(pool([0.9, 0.9], [0.1, 0.1], names=OPEN[:2]))
    assert rows[0].score == {"open": pytest.approx(0.5), "hidden": None, "full": None}


def test_one_alone_beats_nobody() -> None:
    (row,) = standings(pool([0.9] * 9))
    assert set(row.rates.values()) == {0.0}
    assert row.score["full"] == pytest.approx(LEAST, abs=1e-300)


def test_none_at_all() -> None:
    assert standings([]) == []
    (row,) = standings([{}])
    assert row.rates == {} and set(row.score.values()) == {None}


@pytest.mark.parametrize(
    ("name", "scenario", "stage", "lower"),
    [
        ("MMLU - EM (Robustness)", "MMLU", "open", False),
        ("big_bench - em", "BIG-bench", "open", False),
        ("MATH - Equivalent (chain of thought)", "MATH", "hidden", False),
        ("MATH (chain-of-thought) - Equivalent (chain of thought)", "MATH", "hidden", False),
        ("MATH - Equivalent", None, None, False),
        ("ethics_justice - EM (Fairness)", "ethics", "hidden", False),
        ("ethics_anything - EM", "ethics", "hidden", False),
        ("sam_sum - Representation (race)", "sam_sum", "hidden", True),
        ("oneday:skill=boxes - EM", "oneday", None, False),
        ("CNN/DailyMail - Stereotypes (race)", "CNN/DailyMail", None, True),
        ("MMLU - ECE (10-bin)", None, None, False),
        ("MMLU", None, None, False),
        ("what - ever", None, None, False),
        ("", None, None, False),
    ],
)
def test_columns_are_read_by_rule(
    name: str, scenario: str | None, stage: str | None, lower: bool
) -> None:
    found = column(name)
    assert (found.scenario, found.stage, found.lower) == (scenario, stage, lower)
    assert column(found.name) == found


def test_another_spelling_is_the_same_column() -> None:
    rows = standings([{"BIG-bench - EM": 0.5}, {"big bench - em": 0.4}])
    assert [row.rates for row in rows] == [{"BIG-bench": 0.5}, {"BIG-bench": 0.0}]


def test_unknown_columns_change_no_score() -> None:
    plain = pool([0.9] * 9, [0.1] * 9)
    more = [{**metrics, "MMLU - ECE": 0.1 * at} for at, metrics in enumerate(plain)]
    assert standings(more) == standings(plain)


def test_scenarios_of_no_stage_stand_apart() -> None:
    names = ["oneday:skill=a - EM", "oneday:skill=b - EM"]
    first, second = standings(pool([0.5, 0.1], [0.2, 0.4], names=names))
    assert first.others == second.others == {"oneday": 0.25}
    assert first.score["full"] is None and first.rates == {}


def test_ranks() -> None:
    assert ranks([0.5, None, 0.7, 0.5, 0.1]) == [2, None, 1, 2, 4]
