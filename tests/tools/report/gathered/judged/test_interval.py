"""Intervals against their definitions and against published figures."""

import math
import statistics

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tools.report.gathered.judged.interval import (
    Z,
    correlation,
    of_difference,
    of_mean,
    of_means,
    of_values,
    wilson,
)

FLOATS = st.lists(st.floats(0.2, 0.8), min_size=40, max_size=60)


@given(st.integers(1, 500), st.data())
def test_wilson_s_ends_are_the_shares_whose_test_would_just_allow_it(
    n: int, data: st.DataObject
) -> None:
    right = data.draw(st.integers(0, n))
    found = wilson(right / n, n)
    assert found is not None
    for end in found:
        assert abs(right / n - end) == pytest.approx(
            Z * math.sqrt(max(end * (1 - end), 0) / n), abs=1e-6
        )


def test_wilson_of_newcombe_s_table() -> None:
    """Score intervals of R. G. Newcombe, Statistics in Medicine 17, 1998, page 857."""
    for right, n, low, high in (
        (81, 263, 0.2553, 0.3662),
        (15, 148, 0.0624, 0.1605),
        (0, 20, 0, 0.1611),
    ):
        assert wilson(right / n, n) == pytest.approx((low, high), abs=5e-5)
    assert wilson(0.0, 0) is None


def test_a_graded_mean_has_standard_errors_and_stays_within_its_range() -> None:
    values = [0.2, 0.4, 0.6, 0.8]
    half = Z * statistics.stdev(values) / 2
    assert of_mean(values) == pytest.approx((0.5 - half, 0.5 + half))
    assert of_mean([0.0, 0.0, 0.5]) == pytest.approx((0.0, 1 / 6 + Z / 6))
    assert of_mean([-5.0, 5.0]) == pytest.approx((-5 * Z, 5 * Z)) and of_mean([0.3]) is None
    assert of_values([1.0, 0.0]) == wilson(0.5, 2) != of_mean([1.0, 0.0])
    assert of_values([]) is None


@given(FLOATS, FLOATS)
def test_a_mean_over_run_specs_has_the_usual_standard_error(
    one: list[float], other: list[float]
) -> None:
    means = [statistics.fmean(each) for each in (one, other)]
    variance = sum(statistics.variance(each) / len(each) for each in (one, other)) / 4
    half, mean = Z * math.sqrt(variance), statistics.fmean(means)
    found = of_means(means, [of_mean(one), of_mean(other)])
    assert found == pytest.approx((mean - half, mean + half))
    assert of_means(means, [of_mean(one), None]) is None is of_means([], [])


@given(st.lists(st.tuples(st.floats(0.3, 0.7), st.floats(0.3, 0.7)), min_size=40, max_size=60))
def test_a_difference_is_that_of_pairs(pairs: list[tuple[float, float]]) -> None:
    before, after = ({str(i): one[at] for i, one in enumerate(pairs)} for at in (0, 1))
    ends = [(statistics.fmean(v.values()), of_mean(list(v.values()))) for v in (before, after)]
    found = of_difference(ends[0], ends[1], correlation(before, after))
    shifts = [new - old for old, new in pairs]
    half, mean = Z * statistics.stdev(shifts) / math.sqrt(len(pairs)), statistics.fmean(shifts)
    assert found == pytest.approx((mean - half, mean + half), abs=1e-6)


def test_a_difference_of_nothing_known_is_none_and_constants_are_not_alike() -> None:
    assert of_difference((0.5, None), (0.5, (0.4, 0.6)), 0.0) is None
    assert correlation({"a": 1.0, "b": 1.0}, {"a": 0.0, "b": 1.0}) == 0.0 == correlation({}, {})
    assert correlation({"a": 0.0, "b": 1.0, "c": 9.0}, {"a": 0.0, "b": 1.0}) == pytest.approx(1)
