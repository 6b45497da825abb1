"""The train verb, with a script in Axolotl's place: what it resumes from and what it refuses."""

import json
import math
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import save_file

from tests.tiny import make_run
from tools.day import checkpoints, schedule
from tools.day.clock import Allowance
from tools.day.schedule import Day
from tools.errors import StageError, UserError
from tools.run.folder import Run
from tools.stages import train
from tools.trainers.child import Event, Overdue

Trainer = Callable[[Path, Callable[[Event], None]], None]
HISTORY = [
    {"loss": 2.0, "step": 1, train.TOKENS: 90.0},
    {"eval_loss": 1.5, "step": 2},
    {"loss": 1.0, "step": 3, train.TOKENS: 110.0},
    {"eval_loss": 1.7, "step": 4},
]
TIME = {"event": "stop", "step": 4, "kind": "time", "reason": "the budget ended training"}
FAULT = {"event": "stop", "step": 4, "kind": "fault", "reason": "loss became nan"}


def save_adapter(folder: Path, a: float = 1.0, b: float = 1.0) -> None:
    tensors = {"q.lora_A.weight": torch.full((2, 3), a), "q.lora_B.weight": torch.full((3, 2), b)}
    save_file(tensors, folder / "adapter_model.safetensors")


def checkpoint(
    folder: Path, step: int, whole: bool = True, history: Any = HISTORY, best: int | None = None
) -> None:
    path = folder / f"checkpoint-{step}"
    path.mkdir(parents=True)
    state = {"log_history": history, "global_step": step, "max_steps": 9}
    name = f"somewhere/checkpoint-{best}" if best else None
    (path / "trainer_state.json").write_text(json.dumps({**state, "best_model_checkpoint": name}))
    (path / "adapter_config.json").write_text("{}")
    (path / schedule.FILE).write_text(json.dumps({"stop": step}))
    save_adapter(path, b=step)
    if whole:
        checkpoints.seal(path)


def good(folder: Path, tell: Callable[[Event], None]) -> None:
    tell({"event": "begin", "step": 0, "total": 4})
    checkpoint(folder, 4)
    save_adapter(folder)
    tell({"event": "end", "step": 4, "total": 4, "peak_rss": 2**31})


@pytest.fixture
def run(tmp_path: Path) -> Run:
    (tmp_path / "base").mkdir()
    (tmp_path / "base" / "config.json").write_text("{}")
    return make_run(tmp_path, model__path=str(tmp_path / "base"))


def with_trainer(
    run: Run,
    monkeypatch: pytest.MonkeyPatch,
    trainer: Trainer,
    limit: float = 3600,
    share: float = 0.25,
) -> dict[str, Any]:
    """Train; gives what Axolotl was told over its file, and how it was called."""
    told: dict[str, Any] = {}

    def call(
        which: Any, run: Run, command: str, config: Path, overrides: Any, watch: Any, **how: Any
    ) -> None:
        told.update(**overrides, **how)
        trainer(Path(overrides["output_dir"]), watch)

    monkeypatch.setattr(train.child, "call", call)
    monkeypatch.setattr(train.tokens, "files", lambda run, model: {"train": Path("rows")})
    monkeypatch.setattr(train.tokens, "learnt_share", lambda path: share)
    train.train(run, Allowance(time.monotonic(), 0.0, limit))
    return told


def metrics(run: Run) -> dict[str, Any]:
    record = run.record("train")
    assert record is not None
    return dict(record["metrics"])


def test_a_trained_adapter(
    run: Run, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    told = with_trainer(run, monkeypatch, good)
    assert told["plugins"][-1] == "tools.axolotl.plugin.OnedayPlugin"
    assert told["auto_resume_from_checkpoints"] and told["output_dir"] != str(run.output("train"))
    assert run.done("train")
    assert [path.name for path in run.output("train").glob("*")] == [
        "adapter_model.safetensors",
        "oneday.json",
    ]
    wanted = {
        "steps": 4,
        "planned_steps": 9,
        "stopped": None,
        "first_loss": 2.0,
        "last_loss": 1.0,
        "eval_loss": 1.7,
        "trained_parameters": 12,
        "learnt_share": 0.25,
        "tokens_per_second": 100.0,
        "peak_process_gib": 2.0,
        "peak_gpu_gib": None,
        "log": HISTORY,
    }
    assert metrics(run) == wanted
    assert "train: 4 steps, loss 2.000 to 1.000, eval_loss 1.700" in capsys.readouterr().out


def test_the_trainer_is_told_of_the_day(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    told = with_trainer(run, monkeypatch, good, limit=5000)
    day = Day.load(told["variables"][schedule.VARIABLE])
    assert day.allowance.limit == 5000 and day.allowance.elapsed() < 60
    assert day.checkpoint_seconds == 60 * run.recipe.budget.checkpoint_minutes
    assert day.replay == "" and 5000 < told["seconds"] <= 5050


def test_an_earlier_schedule_is_followed_whatever_the_time(
    run: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    (run.path / train.REPLAY).write_text("{}")
    told = with_trainer(run, monkeypatch, good, limit=-1)
    day = Day.load(told["variables"][schedule.VARIABLE])
    assert day.replay == str(run.path / train.REPLAY) and told["seconds"] is None


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

    with pytest.raises(KeyboardInterrupt, match="step 2 is kept, the same command goes on from it"):
        with_trainer(run, monkeypatch, killed)
    assert not run.done("train")
    with_trainer(run, monkeypatch, resumed)
    said = capsys.readouterr().out
    assert "checkpoint-10 is half-written; not used" in said and "going on from step 2" in said


def test_before_the_first_checkpoint_nothing_is_said_to_be_kept(
    run: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    def killed(folder: Path, tell: Callable[[Event], None]) -> None:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt) as caught:
        with_trainer(run, monkeypatch, killed)
    said = str(caught.value)
    assert "no checkpoint was written yet" in said and "trains from the first step on" in said
    assert "is kept" not in said


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


def test_a_training_that_the_clock_ended(
    run: Run, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def trainer(folder: Path, tell: Callable[[Event], None]) -> None:
        tell(TIME)
        good(folder, tell)
        (folder / schedule.FILE).write_text("{}")

    with_trainer(run, monkeypatch, trainer)
    assert metrics(run)["stopped"] == "time" and (run.output("train") / schedule.FILE).exists()
    assert "4 steps of 9, as many as the budget allows" in capsys.readouterr().out


def hang(folder: Path, tell: Callable[[Event], None]) -> None:
    checkpoint(folder, 4)
    checkpoint(folder, 6, best=4)
    checkpoint(folder, 8, whole=False)
    raise Overdue("axolotl train did not end in 9 s and was stopped")


@pytest.mark.parametrize(("options", "taken"), [({}, 6), ({"load_best_model_at_end": True}, 4)])
def test_a_training_that_hangs_gives_its_newest_or_best_checkpoint(
    options: dict[str, Any],
    taken: int,
    tmp_path: Path,
    run: Run,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    mine = make_run(tmp_path, model__path=run.recipe.model.path, train=options)
    with_trainer(mine, monkeypatch, hang)
    said = capsys.readouterr().out
    assert "did not end in 9 s" in said and "checkpoint-8 is half-written" in said
    assert f"the checkpoint of step {taken} becomes the adapter" in said
    assert metrics(mine)["stopped"] == "time"
    assert json.loads((mine.output("train") / schedule.FILE).read_text()) == {"stop": taken}


def test_a_restart_after_the_day_takes_what_there_is(
    run: Run, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def killed(folder: Path, tell: Callable[[Event], None]) -> None:
        checkpoint(folder, 2)
        raise KeyboardInterrupt

    def never(folder: Path, tell: Callable[[Event], None]) -> None:
        raise AssertionError("there is no time to start Axolotl")

    with pytest.raises(KeyboardInterrupt):
        with_trainer(run, monkeypatch, killed)
    with_trainer(run, monkeypatch, never, limit=0.0)
    assert metrics(run)["steps"] == 2
    assert "the checkpoint of step 2 becomes the adapter" in capsys.readouterr().out


def test_a_start_up_that_left_no_time_takes_what_there_is(
    run: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    def late(folder: Path, tell: Callable[[Event], None]) -> None:
        checkpoint(folder, 2)
        tell(TIME)

    with_trainer(run, monkeypatch, late)
    assert metrics(run)["steps"] == 2


def test_no_time_and_no_checkpoint(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(StageError, match=r"raise budget\.hours"):
        with_trainer(run, monkeypatch, good, limit=0.0)
    assert not run.done("train")


def test_a_fault_is_told_once_and_nothing_is_lost(
    run: Run, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def broken(folder: Path, tell: Callable[[Event], None]) -> None:
        checkpoint(folder, 2)
        tell(FAULT)
        raise StageError("axolotl train ended with code 1: a hundred lines")

    with pytest.raises(StageError) as caught:
        with_trainer(run, monkeypatch, broken)
    assert str(caught.value).startswith("train: loss became nan") and "hundred" not in str(caught)
    assert "train.log" in str(caught.value)
    with_trainer(run, monkeypatch, good)
    assert "going on from step 2" in capsys.readouterr().out


def test_a_crash_says_what_axolotl_said(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    def crashed(folder: Path, tell: Callable[[Event], None]) -> None:
        raise StageError("axolotl train ended with code 1: OutOfMemoryError")

    with pytest.raises(StageError, match="OutOfMemoryError"):
        with_trainer(run, monkeypatch, crashed)


def test_notes_of_the_trainer_are_passed_on(
    run: Run, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def trainer(folder: Path, tell: Callable[[Event], None]) -> None:
        tell({"event": "note", "step": 0, "text": "by steps"})
        good(folder, tell)

    with_trainer(run, monkeypatch, trainer)
    assert "train: by steps" in capsys.readouterr().out


@pytest.mark.parametrize("share", [0.0, 1.0])
def test_rows_that_teach_nothing_or_everything(
    share: float, run: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    with pytest.raises(UserError, match=rf"\({share:.0%}\)".replace("%", " %")):
        with_trainer(run, monkeypatch, good, share=share)
    assert not run.done("train")


def test_an_untrained_adapter_is_refused(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    def idle(folder: Path, tell: Callable[[Event], None]) -> None:
        good(folder, tell)
        save_adapter(folder, b=0.0)

    with pytest.raises(StageError, match="train: the adapter is untrained"):
        with_trainer(run, monkeypatch, idle)
    assert not run.done("train")


def test_a_day_too_short_to_learn_leaves_nothing_to_go_on_from(
    run: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    def hasty(folder: Path, tell: Callable[[Event], None]) -> None:
        tell({**TIME, "step": 1})
        checkpoint(folder, 1)
        save_adapter(folder, b=0.0)
        tell({"event": "end", "step": 1, "total": 9, "peak_rss": 0})

    with pytest.raises(StageError, match=r"1 step\(s\), too few .* raise budget\.hours"):
        with_trainer(run, monkeypatch, hasty)
    assert list(run.path.glob(".adapter*/checkpoint-*")) == [] and not run.done("train")


def test_a_loss_of_nan_is_refused() -> None:
    with pytest.raises(StageError, match="loss became NaN"):
        train._losses([{"loss": 1.0}, {"loss": math.nan}], 1)


def test_a_training_too_short_to_log() -> None:
    with pytest.raises(StageError, match="no loss was logged"):
        train._losses([{"eval_loss": 1.0, "step": 1}], 1)


def test_a_training_that_saved_nothing(tmp_path: Path) -> None:
    with pytest.raises(StageError, match="no checkpoint was saved"):
        train._results(tmp_path, train.Story(), best=False, base=tmp_path)


START = {"eval_loss": 0.5, "step": 0}  # the base's, by eval_on_start


@pytest.mark.parametrize(
    ("options", "best", "history", "loss"),
    [
        ({}, 2, HISTORY, 1.7),
        ({"load_best_model_at_end": True}, 2, HISTORY, 1.5),
        ({"load_best_model_at_end": True}, None, HISTORY, 1.7),
        ({"load_best_model_at_end": True}, 4, HISTORY, 1.7),  # best by another metric
        ({}, None, [START, *HISTORY], 1.7),
        ({"load_best_model_at_end": True}, 2, [START, *HISTORY], 1.5),
        ({}, None, [START, HISTORY[0]], None),
        ({}, None, HISTORY[:3], 1.5),  # the newest there is
    ],
)
def test_the_held_out_loss_is_that_of_the_adapter_kept(
    options: dict[str, Any],
    best: int | None,
    history: Any,
    loss: float | None,
    run: Run,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def trainer(folder: Path, tell: Callable[[Event], None]) -> None:
        checkpoint(folder, 2)
        checkpoint(folder, 4, history=history, best=best)
        save_adapter(folder)
        tell({"event": "end", "step": 4, "total": 4, "peak_rss": 0})

    mine = make_run(tmp_path, model__path=run.recipe.model.path, train=options)
    with_trainer(mine, monkeypatch, trainer)
    assert metrics(mine)["eval_loss"] == loss


def test_results_are_of_the_newest_checkpoint(tmp_path: Path) -> None:
    save_adapter(tmp_path)
    checkpoint(tmp_path, 9, history=[{"loss": 9.0}, {"eval_loss": 9.0, "step": 9}])
    checkpoint(tmp_path, 10)
    assert train._results(tmp_path, train.Story(), best=False, base=tmp_path)["last_loss"] == 1.0


def test_peak_memory_is_the_cards_where_there_is_one() -> None:
    found = train._speed([{"memory/max_allocated (GiB)": 3.5}, {"loss": 1.0}], train.Story())
    assert found == {"tokens_per_second": None, "peak_gpu_gib": 3.5, "peak_process_gib": None}
