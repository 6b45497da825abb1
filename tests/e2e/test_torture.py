"""The short form of ``make torture``: a kill or two in every stage."""

import os
import subprocess
import time
from pathlib import Path

import pytest

from tests.tiny import make_run
from tests.torture import (
    STAGES,
    Moment,
    Report,
    Torture,
    Witness,
    alive,
    descendants,
    differing,
    half_written,
    plan,
    summary,
    torture,
)
from tools.day.clock import Clock


@pytest.fixture(scope="module")
def report(tiny_recipe: Path, alone: Path) -> Report:
    return torture(tiny_recipe, alone, kills=4, seed=6)


def test_a_killed_run_ends_as_one_left_alone(report: Report) -> None:
    assert not report.faults, report.faults
    assert len(report.kills) == 4 and report.rounds >= 1
    assert {kill.stage for kill in report.kills} >= set(STAGES)
    assert "byte for byte as left alone" in summary(report)


def test_the_moments_are_spread_and_repeatable(alone: Path) -> None:
    moments = plan(20, 3, alone)
    counts = {stage: sum(moment.stage == stage for moment in moments) for stage in STAGES}
    assert counts == {"train": 10, "merge": 5, "quantize": 5}
    steps = [moment.step for moment in moments if moment.stage == "train"]
    assert steps == sorted(steps) and steps[-1] > 1
    assert {moment.kind for moment in moments} == {"step", "save", "start-up", "any"}
    assert moments == plan(20, 3, alone) and moments != plan(20, 4, alone)


def test_half_written_is_seen(tmp_path: Path) -> None:
    run = make_run(tmp_path)
    with run.produce("merge") as work:
        for name in ("a", "b"):
            (work.folder / name).write_text("as it was made")
    folder = run.output("merge")
    assert half_written(folder) == []
    (folder / "a").write_text("as it was mad!")
    (folder / "b").unlink()
    (folder / "c").write_text("of nobody")
    assert half_written(folder) == ["a", "b", "c"]
    (folder / "oneday.json").unlink()
    assert half_written(folder) == ["oneday.json"]


def test_another_byte_is_seen(tmp_path: Path) -> None:
    for name, text in {"one/a": "x", "other/a": "x", "one/b": "x", "other/b": "y"}.items():
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_text(text)
    assert differing(tmp_path / "one", tmp_path / "other") == ["b"]
    (tmp_path / "other/sub").mkdir()
    (tmp_path / "other/sub/c").write_text("x")
    assert differing(tmp_path / "one", tmp_path / "other") == ["b", "sub/c"]


def test_the_witness_times_what_ends_and_what_is_killed(tmp_path: Path) -> None:
    ledger = tmp_path / "clock.jsonl"
    witness = Witness(ledger)
    witness.look()
    assert witness.present == ("-", 0.0)
    with Clock(ledger).spend("train", "w", 10):
        witness.look()
        assert witness.present[0] == "train"
        time.sleep(0.2)
    witness.look()
    assert list(witness.seconds.values()) == [pytest.approx(0.2, abs=0.1)]
    with ledger.open("a") as file:
        file.write('{"event": "start", "id": "k", "stage": "merge"}\n{"event": "be')
    witness.look()
    _, since = witness.present
    witness.killed(since + 7)
    assert witness.present == ("-", 0.0) and witness.seconds["k"] == pytest.approx(7)


def test_a_process_outlives_or_not() -> None:
    process = subprocess.Popen(["sleep", "60"])
    assert process.pid in descendants(os.getpid()) and alive(process.pid)
    process.kill()
    time.sleep(0.1)
    assert not alive(process.pid), "it waits to be buried, no more"
    process.wait()
    assert not alive(process.pid)


def test_a_missed_moment_comes_earlier_in_the_next_run(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[float | None] = []

    def attempt(self: Torture, moment: Moment | None) -> bool:
        asked.append(moment.delay if moment else None)
        return moment is not None and moment.delay <= 1.0

    monkeypatch.setattr(Torture, "_attempt", attempt)
    monkeypatch.setattr(Torture, "_judge", lambda self: None)
    (tmp_path / "alone" / "tiny").mkdir(parents=True)
    monkeypatch.setattr("tests.torture._aside", lambda folder, name: folder)
    tortured = Torture(tmp_path / "tiny.yaml", tmp_path / "alone" / "tiny", (), lambda row: None)
    report = tortured.suffer([Moment("merge", "any", 0, 4.0), Moment("quantize", "any", 0, 0.5)])
    assert asked == [4.0, 2.0, 1.0, 0.5, None] and report.rounds == 3
