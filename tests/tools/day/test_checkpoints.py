"""A checkpoint is either whole, byte for byte, or not used."""

import errno
import json
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tools.day import checkpoints


def staged(folder: Path, step: int = 3, best: int | None = None) -> Path:
    """A checkpoint as a trainer leaves it, before it is sealed."""
    path = folder / checkpoints.STAGING / f"checkpoint-{step}"
    (path / "global_step").mkdir(parents=True)
    (path / "adapter_model.safetensors").write_text(f"weights of {step}")
    (path / "adapter_config.json").write_text("{}")
    (path / "schedule.json").write_text(json.dumps({"stop": step}))
    (path / "optimizer.pt").write_text("moments")
    (path / "global_step" / "shard.pt").write_text("shard")
    name = f"/elsewhere/checkpoint-{best}" if best else None
    state: dict[str, Any] = {"global_step": step, "best_model_checkpoint": name, "log_history": []}
    (path / "trainer_state.json").write_text(json.dumps(state))
    return path


def whole(folder: Path, step: int = 3, best: int | None = None) -> Path:
    final = folder / f"checkpoint-{step}"
    checkpoints.publish(staged(folder, step, best), final)
    return final


def test_a_whole_one(tmp_path: Path) -> None:
    path = whole(tmp_path)
    assert checkpoints.fault(path) == ""
    sealed = json.loads((path / checkpoints.COMPLETE).read_text())["files"]
    assert sealed["adapter_model.safetensors"]["size"] == len("weights of 3")
    assert set(sealed) == {
        "adapter_config.json",
        "adapter_model.safetensors",
        "global_step/shard.pt",
        "optimizer.pt",
        "schedule.json",
        "trainer_state.json",
    }


def test_its_size_is_told(tmp_path: Path) -> None:
    path = staged(tmp_path)
    size = sum(file.stat().st_size for file in path.rglob("*") if file.is_file())
    assert checkpoints.publish(path, tmp_path / "checkpoint-3") == size


DAMAGE: dict[str, tuple[Callable[[Path], object], str]] = {
    "no seal": (lambda path: (path / ".complete").unlink(), "half-written"),
    "empty seal": (lambda path: (path / ".complete").write_text(""), "without a readable"),
    "other seal": (lambda path: (path / ".complete").write_text("[]"), "without a readable"),
    "gone": (lambda path: (path / "optimizer.pt").unlink(), "optimizer.pt is missing"),
    "short": (
        lambda path: os.truncate(path / "optimizer.pt", 3),
        "optimizer.pt has 3 bytes, not 7",
    ),
    "other": (
        lambda path: (path / "optimizer.pt").write_text("mOments"),
        "corrupted: optimizer.pt",
    ),
    "shard": (lambda path: (path / "global_step/shard.pt").unlink(), "shard.pt is missing"),
}


@pytest.mark.parametrize("name", DAMAGE)
def test_a_damaged_one_is_set_aside_and_the_next_older_used(name: str, tmp_path: Path) -> None:
    older, newest = whole(tmp_path, 9), whole(tmp_path, 10)
    damage, said = DAMAGE[name]
    damage(newest)
    told: list[str] = []
    assert checkpoints.settle(tmp_path, told.append) == [older]
    assert not newest.exists() and older.exists()
    assert len(told) == 1 and said in told[0] and "checkpoint-10" in told[0]


def test_the_newest_is_first_by_number(tmp_path: Path) -> None:
    steps = (9, 100, 20)
    for step in steps:
        whole(tmp_path, step)
    (tmp_path / "checkpoint-notes").mkdir()
    found = checkpoints.settle(tmp_path, print)
    assert [checkpoints.number(path) for path in found] == [100, 20, 9]
    assert (tmp_path / "checkpoint-notes").exists(), "not ours"


def test_adapters_are_left_beside_as_many_as_asked_for(tmp_path: Path) -> None:
    for step in (5, 10, 100):
        checkpoints.keep(whole(tmp_path, step), tmp_path, step, count=2)
    assert [path.name for path in checkpoints.kept(tmp_path)] == ["100", "10"]
    files = {path.name for path in checkpoints.kept(tmp_path)[0].iterdir()}
    assert files == {"adapter_model.safetensors", "adapter_config.json"}
    again = staged(tmp_path, 100)
    (again / "adapter_model.safetensors").write_text("trained once more")
    checkpoints.keep(again, tmp_path, 100, count=2)
    (first, _) = checkpoints.kept(tmp_path)
    assert (first / "adapter_model.safetensors").read_text() == "trained once more"


def test_those_of_steps_that_come_again_are_dropped(tmp_path: Path) -> None:
    for step in (5, 10, 15):
        checkpoints.keep(whole(tmp_path, step), tmp_path, step, count=3)
    (tmp_path / "checkpoint-15" / checkpoints.COMPLETE).unlink()
    checkpoints.settle(tmp_path, lambda _: None)
    assert [path.name for path in checkpoints.kept(tmp_path)] == ["10", "5"]
    checkpoints.clear(tmp_path)
    checkpoints.settle(tmp_path, lambda _: None)
    assert checkpoints.kept(tmp_path) == []


def test_what_a_crash_left_unnamed_is_removed(tmp_path: Path) -> None:
    staged(tmp_path)
    assert checkpoints.settle(tmp_path, print) == []
    assert not (tmp_path / checkpoints.STAGING).exists()


def test_the_name_comes_last(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    final, real = tmp_path / "checkpoint-3", os.fsync
    named: list[bool] = []

    def sync(handle: int) -> None:
        named.append(final.exists())
        real(handle)

    monkeypatch.setattr(checkpoints.os, "fsync", sync)
    checkpoints.publish(staged(tmp_path), final)
    assert len(named) >= 9 and named == [*[False] * (len(named) - 1), True]


def test_no_name_when_the_disk_fails(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(_: int) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    path = staged(tmp_path)
    monkeypatch.setattr(checkpoints.os, "fsync", full)
    with pytest.raises(OSError, match="No space"):
        checkpoints.publish(path, tmp_path / "checkpoint-3")
    assert not (tmp_path / "checkpoint-3").exists()
    assert not (path / checkpoints.COMPLETE).exists()


def test_the_same_step_twice(tmp_path: Path) -> None:
    whole(tmp_path)
    (staged(tmp_path) / "optimizer.pt").write_text("later")
    final = tmp_path / "checkpoint-3"
    checkpoints.publish(tmp_path / checkpoints.STAGING / "checkpoint-3", final)
    assert (final / "optimizer.pt").read_text() == "later" and checkpoints.fault(final) == ""


@pytest.mark.parametrize(
    ("best", "named", "taken"), [(True, 10, 10), (True, 7, 20), (True, None, 20), (False, 10, 20)]
)
def test_the_adapter_is_the_best_or_the_newest(
    best: bool, named: int | None, taken: int, tmp_path: Path
) -> None:
    whole(tmp_path, 10)
    whole(tmp_path, 20, best=named)
    assert checkpoints.adopt(tmp_path, best) == taken
    assert (tmp_path / "adapter_model.safetensors").read_text() == f"weights of {taken}"
    assert json.loads((tmp_path / "schedule.json").read_text()) == {"stop": taken}
    assert not (tmp_path / "optimizer.pt").exists()


def test_of_a_model_that_is_trained_whole_all_its_files_are_adopted(tmp_path: Path) -> None:
    path = staged(tmp_path, 20)
    for name in ("adapter_model.safetensors", "adapter_config.json"):
        (path / name).unlink()
    index = "model.safetensors.index.json"
    files = ["model-00001-of-00002.safetensors", "model-00002-of-00002.safetensors", index,
             "config.json", "generation_config.json", "schedule.json"]  # fmt: skip
    for name in files:
        (path / name).write_text(name)
    checkpoints.publish(path, tmp_path / "checkpoint-20")
    assert checkpoints.adopt(tmp_path, best=False) == 20
    assert sorted(file.name for file in tmp_path.iterdir() if file.is_file()) == sorted(files)
    checkpoints.clear(tmp_path)
    assert not list(tmp_path.glob("checkpoint-*"))


def test_nothing_to_adopt(tmp_path: Path) -> None:
    assert checkpoints.adopt(tmp_path, True) is None
