"""The train verb, with a script in Axolotl's place: what it resumes from and what it refuses."""

import json
import math
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import save_file

from tests.tiny import make_run
from tools import train
from tools.axolotl import Event
from tools.errors import StageError
from tools.run import Run

Trainer = Callable[[Path, Callable[[Event], None]], None]
HISTORY = [
    {"loss": 2.0, "step": 1},
    {"eval_loss": 1.5, "step": 2},
    {"loss": 1.0, "step": 3},
    {"eval_loss": 1.7, "step": 4},
]


def save_adapter(folder: Path, a: float = 1.0, b: float = 1.0) -> None:
    tensors = {"q.lora_A.weight": torch.full((2, 3), a), "q.lora_B.weight": torch.full((3, 2), b)}
    save_file(tensors, folder / "adapter_model.safetensors")


def checkpoint(folder: Path, step: int, whole: bool = True, history: Any = HISTORY) -> None:
    path = folder / f"checkpoint-{step}"
    path.mkdir(parents=True)
    (path / "trainer_state.json").write_text(json.dumps({"log_history": history}))
    if whole:
        (path / train.COMPLETE).touch()


def good(folder: Path, tell: Callable[[Event], None]) -> None:
    tell({"event": "begin", "step": 0, "total": 4})
    checkpoint(folder, 4)
    save_adapter(folder)
    tell({"event": "end", "step": 4, "total": 4})


@pytest.fixture
def run(tmp_path: Path) -> Run:
    (tmp_path / "base").mkdir()
    (tmp_path / "base" / "config.json").write_text("{}")
    return make_run(tmp_path, model__path=str(tmp_path / "base"))


def with_trainer(run: Run, monkeypatch: pytest.MonkeyPatch, trainer: Trainer) -> dict[str, Any]:
    """Train; gives what Axolotl was told over its file."""
    told: dict[str, Any] = {}

    def call(run: Run, command: str, config: Path, overrides: dict[str, Any], watch: Any) -> None:
        told.update(overrides)
        trainer(Path(overrides["output_dir"]), watch)

    monkeypatch.setattr(train.axolotl, "call", call)
    monkeypatch.setattr(train.tokens, "files", lambda run, model: None)
    train.train(run)
    return told


def test_a_trained_adapter(
    run: Run, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    told = with_trainer(run, monkeypatch, good)
    assert told["plugins"][-1] == "tools.axolotl_plugin.OnedayPlugin"
    assert told["auto_resume_from_checkpoints"] and told["output_dir"] != str(run.output("train"))
    assert run.done("train")
    assert [path.name for path in run.output("train").glob("*")] == [
        "adapter_model.safetensors",
        "oneday.json",
    ]
    record = run.record("train")
    assert record is not None
    wanted = {"steps": 4, "first_loss": 2.0, "last_loss": 1.0, "eval_loss": 1.5}
    assert {**record["metrics"], **wanted, "trained_parameters": 12} == record["metrics"]
    assert "train: 4 steps, loss 2.000 to 1.000, eval_loss 1.500" in capsys.readouterr().out


def test_plugins_of_the_recipe_stay(
    run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    mine = make_run(tmp_path, model__path=run.recipe.model.path, train={"plugins": ["mine.Plugin"]})
    told = with_trainer(mine, monkeypatch, good)
    assert told["plugins"] == ["mine.Plugin", "tools.axolotl_plugin.OnedayPlugin"]


def test_an_interrupted_training_keeps_its_whole_checkpoints(
    run: Run, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def killed(folder: Path, tell: Callable[[Event], None]) -> None:
        checkpoint(folder, 2)
        checkpoint(folder, 10, whole=False)
        raise KeyboardInterrupt

    def resumed(folder: Path, tell: Callable[[Event], None]) -> None:
        assert [path.name for path in folder.glob("checkpoint-*")] == ["checkpoint-2"]
        good(folder, tell)

    with pytest.raises(KeyboardInterrupt):
        with_trainer(run, monkeypatch, killed)
    assert not run.done("train")
    with_trainer(run, monkeypatch, resumed)
    said = capsys.readouterr().out
    assert "checkpoint-10 is half-written, not used" in said and "going on from step 2" in said


def test_a_stopped_axolotl_is_not_done_though_it_says_0(
    run: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    def stopped(folder: Path, tell: Callable[[Event], None]) -> None:
        tell({"event": "step", "step": 3})
        checkpoint(folder, 3)
        save_adapter(folder)

    with pytest.raises(StageError, match="stopped at step 3, before its end"):
        with_trainer(run, monkeypatch, stopped)
    assert not run.done("train")


def test_drop_broken_takes_numbers_not_names(tmp_path: Path) -> None:
    assert train._drop_broken(tmp_path) == 0
    checkpoint(tmp_path, 9)
    checkpoint(tmp_path, 100)
    assert train._drop_broken(tmp_path) == 100


@pytest.mark.parametrize(
    ("a", "b", "said"),
    [
        (math.nan, 1.0, "NaN or infinite"),
        (1.0, math.inf, "NaN or infinite"),
        (1.0, 0.0, "untrained"),
    ],
)
def test_a_bad_adapter_is_refused(a: float, b: float, said: str, tmp_path: Path) -> None:
    save_adapter(tmp_path, a, b)
    with pytest.raises(StageError, match=said):
        train._verify(tmp_path)


def test_a_loss_of_nan_is_refused(tmp_path: Path) -> None:
    checkpoint(tmp_path, 2, history=[{"loss": 1.0}, {"loss": math.nan}])
    with pytest.raises(StageError, match="loss became NaN"):
        train._losses(tmp_path)


def test_losses_are_of_the_newest_checkpoint(tmp_path: Path) -> None:
    checkpoint(tmp_path, 9, history=[{"loss": 9.0}, {"eval_loss": 9.0}])
    checkpoint(tmp_path, 10)
    assert train._losses(tmp_path)["last_loss"] == 1.0


@pytest.mark.parametrize("history", [None, [{"eval_loss": 1.0}]])
def test_a_training_too_short_to_log(history: Any, tmp_path: Path) -> None:
    if history:
        (tmp_path / "checkpoint-3").mkdir()
        (tmp_path / "checkpoint-3/trainer_state.json").write_text(
            json.dumps({"log_history": history})
        )
    with pytest.raises(StageError):
        train._losses(tmp_path)
