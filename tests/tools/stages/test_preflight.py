"""What is refused before a training starts, with its figures, and what is only said."""

import dataclasses
import json
import shutil
from collections import namedtuple
from pathlib import Path

import pytest

from tools.day import budget
from tools.day.budget import Day
from tools.errors import UserError
from tools.recipe.compose import RECIPES
from tools.recipe.load import load
from tools.run.folder import Run
from tools.stages.preflight import preflight

DAY = Day(86400, 3600, {"train": 0.0, "merge": 0.0, "quantize": 0.0}, 0.0)
OVER = dataclasses.replace(DAY, used={"train": 82800.0, "merge": 0.0, "quantize": 0.0})
Usage = namedtuple("Usage", "total used free")


def a_run(root: Path, name: str = "cpu", *overrides: str) -> Run:
    run = Run(load(RECIPES / f"{name}.yaml", overrides).recipe, root)
    run.path.mkdir(parents=True)
    return run


def refused(run: Run, day: Day = DAY) -> list[str]:
    with pytest.raises(UserError) as caught:
        preflight(run, run.path, day)
    return caught.value.faults


def free(monkeypatch: pytest.MonkeyPatch, size: float) -> None:
    monkeypatch.setattr(shutil, "disk_usage", lambda path: Usage(1e15, 0, int(size)))


@pytest.fixture(autouse=True)
def room(monkeypatch: pytest.MonkeyPatch) -> None:
    free(monkeypatch, 1e15)


def test_what_fits_starts(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    preflight(a_run(tmp_path), tmp_path, DAY)
    assert capsys.readouterr().out == ""


def test_a_day_that_is_used_up(tmp_path: Path) -> None:
    (fault,) = refused(a_run(tmp_path), OVER)
    assert fault.startswith("budget.hours: nothing of the 24:00:00 is left to train")
    assert "train 23:00:00, merge 0:00:00, quantize 0:00:00; 1:00:00 are reserved" in fault
    assert "raise budget.hours" in fault


def test_a_used_up_day_with_a_checkpoint_is_finished(tmp_path: Path) -> None:
    run = a_run(tmp_path)
    checkpoint = run.unfinished("train") / "checkpoint-60"
    checkpoint.mkdir(parents=True)
    refused(run, OVER)  # half-written
    (checkpoint / ".complete").touch()
    preflight(run, tmp_path, OVER)


def test_memory_that_does_not_fit(tmp_path: Path) -> None:
    large = ("train.micro_batch_size=64", "train.sample_packing=false")
    (fault,) = refused(a_run(tmp_path, "4090", *large))
    assert fault.startswith("hardware.memory_gib: training needs ")
    assert "of the 23.5 GiB of 4090" in fault and 'SET="train.' in fault
    more = a_run(tmp_path / "more", "4090", *large, "hardware.memory_gib=2000")
    preflight(more, tmp_path, DAY)


def test_host_memory_that_does_not_fit(tmp_path: Path) -> None:
    (fault,) = refused(a_run(tmp_path, "4090", "hardware.host_memory_gib=1"))
    assert fault.startswith("hardware.host_memory_gib: merging needs ") and "of the 1 GiB" in fault


def test_too_long_a_training_is_only_told(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    preflight(a_run(tmp_path, "4090", "train.num_epochs=900"), tmp_path, DAY)
    said = capsys.readouterr().out
    assert "hours are predicted, 23.0 are there: the clock ends it in time" in said


def test_a_disk_that_is_too_small(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    run = a_run(tmp_path)
    free(monkeypatch, 1e8)
    (fault,) = refused(run)
    assert fault.startswith(f"{run.path}: the disk has 0.10 GB for this run, which will take ")
    for part in ("checkpoints", "adapter", "merged", "quantized", "RUNS=", "save_total_limit"):
        assert part in fault
    assert "base" not in fault


def test_checkpoints_that_are_there_need_no_more_room(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    run = a_run(tmp_path)
    free(monkeypatch, 1e8)
    needed = float(refused(run)[0].split("will take ")[1].split()[0]) * 1e9
    free(monkeypatch, needed - 5e6)
    refused(run)
    folder = run.unfinished("train") / "checkpoint-1"
    folder.mkdir(parents=True)
    (folder / "model").write_bytes(bytes(10_000_000))
    preflight(run, tmp_path, DAY)


def test_faults_come_together(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    free(monkeypatch, 1e8)
    faults = refused(a_run(tmp_path, "cpu", "hardware.memory_gib=0.1"), OVER)
    assert [fault.partition(":")[0] for fault in faults] == [
        "budget.hours",
        "hardware.memory_gib",
        str(tmp_path / "cpu"),
    ]


def test_numbers_are_read_from_the_base_on_the_disk(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    run = a_run(tmp_path, "cpu", "~model.arch")
    free(monkeypatch, 1e8)
    preflight(run, tmp_path, DAY)
    assert "not held against the card's memory and the disk: model.arch" in capsys.readouterr().out
    names = ("hidden_size", "num_hidden_layers", "num_attention_heads", "vocab_size")
    (tmp_path / "config.json").write_text(json.dumps(dict.fromkeys(names, 4096)))
    with pytest.raises(UserError, match="GiB of cpu"):
        preflight(run, tmp_path, DAY)


def test_a_new_ledger_leaves_the_whole_day(tmp_path: Path) -> None:
    run = a_run(tmp_path)
    preflight(run, tmp_path, budget.day(run))
