"""Our Axolotl plugin, without Axolotl's trainer."""

import json
from pathlib import Path

import pytest
import torch
from axolotl.utils.dict import DictDefault
from transformers import TrainerControl, TrainerState, TrainingArguments

from tools import axolotl, axolotl_plugin, train
from tools.axolotl_plugin import OnedayPlugin, Watch

Hook = tuple[TrainingArguments, TrainerState, TrainerControl]


@pytest.fixture
def hook(tmp_path: Path) -> Hook:
    state = TrainerState(global_step=3, max_steps=9)
    return TrainingArguments(output_dir=str(tmp_path), report_to=[]), state, TrainerControl()


def test_both_sides_agree_on_the_marks() -> None:
    assert axolotl_plugin.MARK == axolotl.MARK
    assert axolotl_plugin.COMPLETE == train.COMPLETE


def test_the_seed_is_set_before_weights_are_drawn() -> None:
    drawn = []
    for _ in range(2):
        OnedayPlugin().pre_model_load(DictDefault({"seed": 4}))
        drawn.append(torch.rand(3))
    assert torch.equal(*drawn)
    OnedayPlugin().pre_model_load(DictDefault({"seed": 5}))
    assert not torch.equal(torch.rand(3), drawn[0])


def test_the_trainer_is_watched() -> None:
    (watch,) = OnedayPlugin().add_callbacks_pre_trainer(DictDefault({}), None)
    assert isinstance(watch, Watch)


def test_one_of_several_jobs_tells(monkeypatch: pytest.MonkeyPatch) -> None:
    """Two would mark a checkpoint whole before the other has written it."""
    monkeypatch.setenv("RANK", "1")
    assert OnedayPlugin().add_callbacks_pre_trainer(DictDefault({}), None) == []
    monkeypatch.setenv("RANK", "0")
    assert len(OnedayPlugin().add_callbacks_pre_trainer(DictDefault({}), None)) == 1


def test_what_the_parent_hears(hook: Hook, capsys: pytest.CaptureFixture[str]) -> None:
    watch = Watch()
    watch.on_train_begin(*hook)
    watch.on_step_end(*hook)
    watch.on_log(*hook, logs={"loss": 0.5, "note": "text"})
    watch.on_log(*hook)
    watch.on_train_end(*hook)
    lines = capsys.readouterr().out.splitlines()
    assert all(line.startswith(axolotl.MARK) for line in lines)
    assert [json.loads(line.removeprefix(axolotl.MARK)) for line in lines] == [
        {"event": "begin", "step": 3, "total": 9},
        {"event": "step", "step": 3},
        {"event": "log", "step": 3, "loss": 0.5},
        {"event": "log", "step": 3},
        {"event": "end", "step": 3, "total": 9},
    ]


@pytest.fixture
def checkpoint(tmp_path: Path) -> Path:
    folder = tmp_path / "checkpoint-3"
    folder.mkdir()
    for name in ("adapter_model.safetensors", "optimizer.pt", "trainer_state.json"):
        (folder / name).write_text("x")
    return folder


def test_the_mark_comes_last(hook: Hook, checkpoint: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    synced: dict[str, bool] = {}
    mark, real = checkpoint / axolotl_plugin.COMPLETE, axolotl_plugin._sync

    def sync(path: Path) -> None:
        synced[path.name] = mark.exists()
        real(path)

    monkeypatch.setattr(axolotl_plugin, "_sync", sync)
    Watch().on_save(*hook)
    assert synced.pop("checkpoint-3")
    assert synced == dict.fromkeys(
        ("adapter_model.safetensors", "optimizer.pt", "trainer_state.json"), False
    )


def test_no_mark_when_the_disk_fails(
    hook: Hook, checkpoint: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(_: int) -> None:
        raise OSError("No space left on device")

    monkeypatch.setattr(axolotl_plugin.os, "fsync", full)
    with pytest.raises(OSError):
        Watch().on_save(*hook)
    assert not (checkpoint / axolotl_plugin.COMPLETE).exists()
