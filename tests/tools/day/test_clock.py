"""The ledger: true to a heartbeat through kill -9, torn lines, full disks and clocks set anew."""

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest

from tools.day import clock
from tools.day.clock import Allowance, Clock
from tools.recipe.compose import RECIPES

WORK = {"train": "a"}
DAY = 86400.0


@pytest.fixture
def ledger(tmp_path: Path) -> Clock:
    return Clock(tmp_path / "clock.jsonl")


def lines(ledger: Clock) -> list[dict[str, Any]]:
    return [json.loads(line) for line in ledger.path.read_text().splitlines()]


def add(
    ledger: Clock, seconds: float, stage: str = "train", work: str = "a", end: str = ""
) -> None:
    """An interval of an earlier process."""
    entry: dict[str, Any] = {"id": os.urandom(8).hex(), "stage": stage, "work": work}
    entry |= {"event": "stop", "seconds": seconds, "wall": "2023-10-25T00:00:00+00:00", "pid": 1}
    with ledger.path.open("a") as file:
        file.write(json.dumps(entry) + "\n" + end)


def test_an_interval_is_as_long_as_its_body(ledger: Clock) -> None:
    started = time.monotonic()
    with ledger.spend("train", "a", DAY) as allowance:
        time.sleep(0.2)
        assert 0.2 <= allowance.elapsed() <= time.monotonic() - started
    took = time.monotonic() - started
    assert took - 0.1 < ledger.used(WORK)["train"] <= took
    assert [line["event"] for line in lines(ledger)] == ["start", "stop"]
    assert lines(ledger)[0]["pid"] == os.getpid() and lines(ledger)[0]["seconds"] < 0.1


def test_a_restart_goes_on_with_what_is_left(ledger: Clock) -> None:
    add(ledger, 100)
    add(ledger, 20)
    with ledger.spend("train", "a", DAY) as allowance:
        assert allowance.spent == 120 and allowance.limit == DAY
        assert 120 <= allowance.elapsed() < 121
    assert 120 < ledger.used(WORK)["train"] < 121


def test_what_another_process_knows_of_an_allowance_is_the_same() -> None:
    """CLOCK_MONOTONIC is one for all processes: the trainer reads the parent's start."""
    mine = Allowance(time.monotonic(), 5, DAY)
    code = "import sys; from tools.day.clock import Allowance;"
    code += f"print(Allowance({mine.started!r}, 5, {DAY}).elapsed())"
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=RECIPES.parent, capture_output=True, text=True, check=True
    )
    assert 5 < float(done.stdout) <= mine.elapsed()


def test_only_the_same_work_counts(ledger: Clock) -> None:
    add(ledger, 1, "train", "a")
    add(ledger, 2, "merge", "m")
    add(ledger, 4, "train", "other")
    add(ledger, 8, "merge", "a")
    used = ledger.used({"train": "a", "merge": "m", "quantize": "q"})
    assert used == {"train": 1, "merge": 2, "quantize": 0}
    assert sum(one.seconds for one in ledger.intervals()) == 15


@pytest.mark.parametrize("error", [ValueError, KeyboardInterrupt])
def test_a_failure_is_paid_for(error: type[BaseException], ledger: Clock) -> None:
    with pytest.raises(error), ledger.spend("train", "a", DAY):
        raise error
    (interval,) = ledger.intervals()
    assert interval.ended


def test_a_heartbeat(ledger: Clock, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(clock, "HEARTBEAT", 0.02)
    with ledger.spend("train", "a", DAY):
        until = time.monotonic() + 10
        while len(lines(ledger)) < 4:
            assert time.monotonic() < until, "the heart does not beat"
            time.sleep(0.01)
        (interval,) = ledger.intervals()
        assert interval.seconds >= 0.06 and not interval.ended
    before = ledger.path.read_bytes()
    time.sleep(0.1)
    assert ledger.path.read_bytes() == before, "it beats on after the end"


def test_every_line_is_on_the_disk(ledger: Clock, monkeypatch: pytest.MonkeyPatch) -> None:
    sizes = []
    monkeypatch.setattr(os, "fsync", lambda number: sizes.append(os.fstat(number).st_size))
    with ledger.spend("train", "a", DAY):
        pass
    ends = [i + 1 for i, byte in enumerate(ledger.path.read_bytes()) if byte == ord("\n")]
    assert sizes == ends and len(ends) == 2


def test_a_kill_costs_one_heartbeat_at_the_most(ledger: Clock) -> None:
    code = (
        "import sys, time; from pathlib import Path; from tools.day import clock;"
        "clock.HEARTBEAT = 0.2\n"
        "with clock.Clock(Path(sys.argv[1])).spend('train', 'a', 9):\n"
        "    print(flush=True); time.sleep(60)"
    )
    child = subprocess.Popen(
        [sys.executable, "-c", code, str(ledger.path)], cwd=RECIPES.parent, stdout=subprocess.PIPE
    )
    assert child.stdout is not None
    child.stdout.readline()
    started = time.monotonic()
    time.sleep(0.7)
    child.send_signal(signal.SIGKILL)
    child.wait()
    took = time.monotonic() - started
    assert took - 0.2 - 0.15 < ledger.used(WORK)["train"] < took + 0.15
    assert not ledger.intervals()[0].ended
    with ledger.spend("train", "a", DAY) as allowance:
        assert allowance.spent == ledger.used(WORK)["train"] - ledger.intervals()[1].seconds


def test_a_ledger_cut_anywhere_is_read(ledger: Clock) -> None:
    for _ in range(2):
        add(ledger, 10)
    whole = ledger.path.read_bytes()
    used = []
    for size in range(len(whole) + 1):
        ledger.path.write_bytes(whole[:size])
        used.append(ledger.used(WORK)["train"])
    assert set(used) == {0, 10, 20} and used == sorted(used)


def test_a_torn_line_stays_alone(ledger: Clock) -> None:
    add(ledger, 10, end='{"event": "beat", "id": "00')
    assert ledger.used(WORK) == {"train": 10} and ledger.torn() == 1
    with ledger.spend("train", "a", DAY):
        pass
    assert [one.ended for one in ledger.intervals()] == [True, True] and ledger.torn() == 1


def test_zeros_of_a_power_cut_are_passed_over(ledger: Clock) -> None:
    add(ledger, 10)
    with ledger.path.open("ab") as file:
        file.write(bytes(100))
    add(ledger, 10)
    assert ledger.used(WORK) == {"train": 10} and ledger.torn() == 1
    add(ledger, 5)
    assert ledger.used(WORK) == {"train": 15}


def test_a_clock_set_anew_changes_nothing(ledger: Clock, monkeypatch: pytest.MonkeyPatch) -> None:
    jumps = iter(["2026-01-01T12:00:00+00:00", "2019-01-01T00:00:00+00:00"])
    monkeypatch.setattr(clock, "_wall", lambda: next(jumps))
    monkeypatch.setattr(time, "time", lambda: 0.0)
    with ledger.spend("train", "a", DAY) as allowance:
        assert allowance.elapsed() < 1
    assert 0 <= ledger.used(WORK)["train"] < 1
    assert [line["wall"][:4] for line in lines(ledger)] == ["2026", "2019"]


def test_a_full_disk_stops_no_stage_but_lets_none_begin(
    ledger: Clock, monkeypatch: pytest.MonkeyPatch
) -> None:
    real = os.fsync

    def full(number: int) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(clock, "HEARTBEAT", 0.01)
    with pytest.raises(ValueError, match="of the stage itself"), ledger.spend("train", "a", DAY):
        monkeypatch.setattr(os, "fsync", full)
        time.sleep(0.1)
        raise ValueError("of the stage itself")
    with pytest.raises(OSError, match="No space"), ledger.spend("train", "a", DAY):
        raise AssertionError("began")
    monkeypatch.setattr(os, "fsync", real)
    with ledger.spend("train", "a", DAY):
        pass
    assert ledger.intervals()[-1].ended


def test_no_ledger_yet(ledger: Clock) -> None:
    assert ledger.used(WORK) == {"train": 0} and ledger.intervals() == [] and ledger.torn() == 0
    assert not ledger.path.exists()
