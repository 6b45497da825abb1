"""The day: limits of each stage, what `make clock` says while and after a stage is at work."""

import contextlib
import fcntl
import json
import os
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.tiny import make_run
from tools.day import budget
from tools.errors import UserError
from tools.recipe.schema import Axis, Soup, Sweep
from tools.run.folder import Run

HOUR = 3600.0


@pytest.fixture
def run(tmp_path: Path) -> Run:
    return make_run(tmp_path, budget__hours=2, budget__reserve_minutes=30)


def add(run: Run, stage: str, seconds: float, event: str = "stop", work: str = "") -> None:
    """An interval in the run's ledger."""
    line = {"event": event, "id": os.urandom(8).hex(), "stage": stage, "seconds": seconds}
    line |= {"work": work or run.fingerprint(stage), "pid": os.getpid()}
    line["wall"] = "2023-10-25T08:00:00+00:00"
    with budget.clock(run).path.open("a") as file:
        file.write(json.dumps(line) + "\n")


@contextlib.contextmanager
def held(run: Run, pid: str = "") -> Iterator[None]:
    """The lock, as a verb holds it."""
    with (run.path / ".lock").open("w") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        file.write(pid or str(os.getpid()))
        file.flush()
        yield


def test_a_new_day(run: Run) -> None:
    day = budget.day(run)
    assert day.left == 2 * HOUR and day.others == 0
    assert day.limit("train") == day.left_to("train") == 1.5 * HOUR
    assert day.limit("merge") == 2 * HOUR
    assert budget.render(run).splitlines() == [
        f"clock: {run.path}: 0:00:00 of 2:00:00 used, 2:00:00 left, of it 0:30:00 reserved for "
        "merge and quantize",
        "  train       0:00:00",
        "  merge       0:00:00",
        "  quantize    0:00:00",
        "now: nothing is at work",
    ]


def test_what_other_stages_used_is_not_left(run: Run) -> None:
    add(run, "train", HOUR)
    add(run, "train", 60)
    add(run, "merge", 600)
    day = budget.day(run)
    assert day.left == HOUR - 660
    assert day.limit("train") == 1.5 * HOUR - 600 and day.left_to("train") == 0.5 * HOUR - 660
    assert day.limit("merge") == HOUR - 60
    assert day.limit("quantize") == day.left_to("quantize") == day.left


def test_other_recipes_are_shown_apart(run: Run) -> None:
    add(run, "train", HOUR, work="of another learning rate")
    add(run, "train", 60)
    day = budget.day(run)
    assert day.used["train"] == 60 and day.others == HOUR
    assert f"not counted 1:00:00   other recipes in {run.path}" in budget.render(run)


def test_without_other_recipes_they_are_not_spoken_of(run: Run) -> None:
    for stage, seconds in (("train", 155.683), ("merge", 258.922), ("quantize", 397.889)):
        add(run, stage, seconds)
    assert budget.day(run).others == 0 and "not counted" not in budget.render(run)


def test_the_budget_is_no_part_of_the_work(run: Run, tmp_path: Path) -> None:
    add(run, "train", HOUR)
    longer = make_run(tmp_path, budget__hours=3, budget__reserve_minutes=10)
    assert budget.day(longer).used["train"] == HOUR


def test_more_than_the_day(run: Run) -> None:
    add(run, "train", 2 * HOUR)
    add(run, "merge", 61)
    said = budget.render(run)
    assert "2:01:01 of 2:00:00 used, 0:01:01 over the day" in said and "reserved" not in said
    assert budget.day(run).limit("quantize") == -61


def test_the_reserve_shown_is_what_is_left_of_it(run: Run) -> None:
    add(run, "train", 1.75 * HOUR)
    assert "0:15:00 left, of it 0:15:00 reserved" in budget.render(run)


def test_a_torn_line_is_told(run: Run) -> None:
    add(run, "train", 60)
    with budget.clock(run).path.open("a") as file:
        file.write('{"event": "be')
    assert "1 line(s) of clock.jsonl torn by a crash" in budget.render(run)
    assert budget.as_json(run)["torn_lines"] == 1 and budget.day(run).used["train"] == 60


def test_who_is_at_work(run: Run) -> None:
    assert budget.holder(run) == "" and budget.at_work(run) is None
    add(run, "merge", 7, event="beat")
    assert budget.at_work(run) is None, "a killed process is not at work"
    with held(run):
        assert budget.holder(run) == str(os.getpid())
        present = budget.at_work(run)
        assert present and present.stage == "merge"
        said = f"now: merge, process {os.getpid()}, since 2023-10-25T08:00:00+00:00"
        assert budget.render(run).splitlines()[-1] == said
    with held(run, pid="1"):
        assert budget.at_work(run) is None
        assert budget.render(run).splitlines()[-1] == "now: process 1, off the clock"


def test_looking_takes_no_lock(run: Run) -> None:
    with run.lock():
        assert budget.holder(run) == str(os.getpid())
    budget.render(run)
    with run.lock():
        pass


def test_who_only_looks_keeps_nobody_from_working(run: Run) -> None:
    with run.lock():
        pass
    with (run.path / ".lock").open() as file:
        fcntl.flock(file, fcntl.LOCK_SH)  # as holder() does for a moment
        threading.Timer(0.1, fcntl.flock, (file, fcntl.LOCK_UN)).start()
        with run.lock():
            assert budget.holder(run) == str(os.getpid())


def test_who_works_keeps_others_from_it_at_once(run: Run) -> None:
    began = time.monotonic()
    with held(run, pid="1"), pytest.raises(UserError, match="in use by process 1;"), run.lock():
        pass
    assert time.monotonic() - began < 1


def test_the_forecast_of_a_training(run: Run) -> None:
    events = run.logs / "train.events.jsonl"
    seen: list[dict[str, Any]] = [
        {"event": "open"},
        {"event": "begin", "step": 0, "total": 100},
        *({"event": "step", "step": step} for step in range(1, 11)),
        {"event": "log", "step": 10, "loss": 1.25},
    ]
    with events.open("w") as file:
        for i, event in enumerate(seen):
            file.write(json.dumps({**event, "monotonic": 100.0 + 2 * i}) + "\n")
    add(run, "train", 60, event="beat")
    assert budget.as_json(run)["progress"] is None, "nobody is at work"
    with held(run):
        said = budget.render(run).splitlines()
        assert "step 10 of 100, loss 1.250" in said[-2]
        assert "ETA 0:03:00, budget left 1:29:00" in said[-2]
        assert "all steps will be made, 1:26:00 before the deadline" in said[-1]
        found = budget.as_json(run)
    assert found["progress"] == {
        "step": 10, "total": 100, "loss": 1.25, "held_out": None,
        "step_seconds": 2.0, "eta_seconds": 180.0,
    }  # fmt: skip
    assert found["now"]["stage"] == "train" and found["process"] == str(os.getpid())
    assert json.loads(json.dumps(found)) == found


@pytest.mark.parametrize(
    ("seconds", "text"),
    [(0, "0:00:00"), (59.6, "0:01:00"), (3725, "1:02:05"), (86400, "24:00:00"), (-61, "-0:01:01"),
     (-0.4, "0:00:00"), (-0.5, "0:00:00"), (-0.51, "-0:00:01"), (-1.5, "-0:00:02")],
)  # fmt: skip
def test_duration(seconds: float, text: str) -> None:
    assert budget.duration(seconds) == text


def test_a_sweep_has_its_share_and_training_the_rest(tmp_path: Path) -> None:
    sweep = Sweep({"train.lora_r": Axis(values=[8, 16])}, share=0.4)
    run = make_run(tmp_path, budget__hours=2, budget__reserve_minutes=30, sweep=sweep)
    assert budget.day(run).limit("sweep") == pytest.approx(0.4 * 1.5 * HOUR)
    add(run, "sweep", 1800)
    day = budget.day(run)
    assert day.used == {"sweep": 1800, "train": 0, "merge": 0, "quantize": 0}
    assert day.left_to("sweep") == pytest.approx(0.4 * 1.5 * HOUR - 1800)
    assert day.limit("train") == 1.5 * HOUR - 1800
    assert "  sweep       0:30:00" in budget.render(run)
    add(run, "train", 4000)
    assert budget.day(run).limit("sweep") == 1.5 * HOUR - 4000, "no more than there is"


def test_a_soup_is_of_the_reserve(tmp_path: Path) -> None:
    run = make_run(tmp_path, budget__hours=2, budget__reserve_minutes=30, soup=Soup(checkpoints=2))
    add(run, "train", 4000)
    add(run, "soup", 600)
    day = budget.day(run)
    assert day.used == {"train": 4000, "soup": 600, "merge": 0, "quantize": 0}
    assert day.left_to("soup") == 2 * HOUR - 4600 and day.limit("train") == 1.5 * HOUR - 600
    assert "  soup        0:10:00" in budget.render(run)
