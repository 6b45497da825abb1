"""The sweep's part: trials, cost and gain."""

from pathlib import Path

import pytest

from tests.tiny import make_run
from tests.tools.report.conftest import SWEEP, sweep
from tools.report.gathered.gather import gather
from tools.report.gathered.source import Missing, Source
from tools.report.gathered.swept import sweep as part_of
from tools.run.folder import Run


@pytest.fixture
def run(tmp_path: Path) -> Run:
    return make_run(tmp_path, sweep=SWEEP)


def test_what_it_cost_and_gained(run: Run) -> None:
    sweep(run)
    found = part_of(Source(run))
    assert (found["seconds"], found["day"]) == (360, 24 * 3600)
    assert found["gain"] == {"rung": 0.09, "winner": 1.2, "own": 1.6, "itself": False}
    assert [one["number"] for one in found["trials"] if one["won"]] == [2]
    assert [one["seconds"] for one in found["trials"]] == [[40, 80, 120], [40], [40, 80, 120], []]
    broken = found["trials"][3]
    assert broken["told"] == [] and broken["reason"].startswith("no memory")
    assert found["axes"] == [
        {"key": "train.learning_rate", "values": [], "range": [1e-4, 1e-2], "log": True},
        {"key": "data.order", "values": ["shuffled", "listed"], "range": [], "log": False},
        {"key": "layers", "values": ["", ["a", "b"]], "range": [], "log": False},
    ]


def test_a_winner_that_came_farther_is_compared_where_both_came(run: Run) -> None:
    sweep(run, own=1)
    gain = part_of(Source(run))["gain"]
    assert gain == {"rung": 0.01, "winner": 1.9, "own": 2.5, "itself": False}


@pytest.mark.parametrize(("own", "winner", "itself"), [(2, 2, True), (None, 2, None), (3, 2, None)])
def test_without_own_values_no_gain_is_known(
    own: int | None, winner: int, itself: bool | None, run: Run
) -> None:
    sweep(run, own, winner)
    gain = part_of(Source(run))["gain"]
    assert (gain and gain["itself"]) == itself


def test_one_of_an_older_version_has_no_times(run: Run) -> None:
    sweep(run)
    (run.output("sweep") / "spent.json").unlink()
    (run.path / "clock.jsonl").unlink()
    found = part_of(Source(run))
    assert found["seconds"] is None and {one["seconds"] for one in found["trials"]} == {None}


def test_it_is_there_where_a_sweep_was_made(run: Run) -> None:
    sweep(run)
    parts = gather(Source(run), "")["parts"]
    assert "missing" not in parts["sweep"] and parts["day"]["segments"]["sweep"] == 360
    with pytest.raises(Missing, match="not finished"):
        part_of(Source(make_run(run.path.parent / "other", sweep=SWEEP)))
