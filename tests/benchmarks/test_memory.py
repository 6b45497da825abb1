"""Flat memory is told from a leak; a spike or the warm-up is neither."""

import pytest

from benchmarks.memory import MIB, Reading, levels, spread


def readings(sizes: list[float]) -> list[Reading]:
    return [
        Reading(place, int(size * MIB) * 2, int(size * MIB)) for place, size in enumerate(sizes)
    ]


def test_warm_up_and_spikes_do_not_count() -> None:
    sizes = [10.0] * 20 + [100.0] * 80
    sizes[50] = 500.0
    assert spread(levels(readings(sizes), worker=True)) == 0
    assert levels(readings(sizes), worker=False) == [200.0] * 6


def test_a_short_run_warms_up_as_long() -> None:
    sizes = [100.0 + max(0, 15 - place) for place in range(30)]
    assert spread(levels(readings(sizes), worker=True)) == 0


def test_a_leak_counts() -> None:
    sizes = [100 + place / 10 for place in range(100)]
    assert spread(levels(readings(sizes), worker=True)) == pytest.approx(6.1, abs=0.5)
