"""Axes and numbers."""

import itertools
import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tools.report.scale import label, number, share, signed, step_of, ticks

REAL = st.floats(-1e9, 1e9).map(lambda value: value if abs(value) > 1e-9 else 0.0)


@given(REAL, REAL, st.integers(2, 12))
def test_ticks_enclose_and_are_few_and_even(one: float, other: float, count: int) -> None:
    low, high = sorted((one, other))
    found = ticks(low, high, count)
    step = found[1] - found[0]
    slack = 1e-5 * step
    assert found[0] <= low + slack and found[-1] >= high - slack
    assert 2 <= len(found) <= count + 2
    gaps = [b - a for a, b in itertools.pairwise(found)]
    assert all(math.isclose(gap, step, rel_tol=1e-3) for gap in gaps)


@given(st.floats(1e-9, 1e9), st.integers(1, 40))
def test_a_step_is_round_and_just_long_enough(span: float, count: int) -> None:
    step = step_of(span, count)
    assert step * count >= span * (1 - 1e-6) and step * count < span * 10
    mantissa = step / 10 ** math.floor(math.log10(step) + 1e-9)
    assert min(abs(mantissa - round_) for round_ in (1, 2, 5)) < 1e-6


@pytest.mark.parametrize(
    "value, step, text",
    [
        (0, 0.2, "0.0"),
        (0.4, 0.2, "0.4"),
        (1500, 500, "1,500"),
        (2e-4, 2e-4, "2e-4"),
        (1e-3, 2e-4, "1e-3"),
        (0, 2e-4, "0"),
    ],
)
def test_labels(value: float, step: float, text: str) -> None:
    assert label(value, step) == text


def test_numbers() -> None:
    assert (number(1234.5, 1), number(None), share(0.125)) == ("1,234.5", "–", "12 %")
    assert (signed(0.5, 2), signed(-0.5, 2), signed(None)) == ("+0.50", "−0.50", "–")
