"""Our Axolotl plugin, in the trainer that Axolotl's is made of, on a model of a few weights."""

import errno
import json
import math
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from axolotl.utils.dict import DictDefault
from safetensors.torch import load_file
from torch.optim.lr_scheduler import OneCycleLR
from transformers import (
    LlamaConfig,
    LlamaForCausalLM,
    Trainer,
    TrainerCallback,
    TrainerControl,
    TrainerState,
    TrainingArguments,
    set_seed,
)

from tools.axolotl.plugin import OnedayPlugin
from tools.day import checkpoints, schedule
from tools.day.clock import Allowance
from tools.day.schedule import VARIABLE, Day
from tools.trainers.callbacks import Watch
from tools.trainers.telling import MARK

ROWS = 24
Weights = dict[str, torch.Tensor]


class Hand(TrainerCallback):
    """Moves the clock by hand, and does something at the beginning of a step."""

    def __init__(self) -> None:
        self.now, self.step, self.evaluation = 0.0, 0.0, 0.0
        self.at: dict[int, Callable[[], Any]] = {}

    def on_step_begin(self, args: Any, state: Any, control: Any, **_: Any) -> None:
        self.now += self.step
        self.at.get(state.global_step + 1, lambda: None)()

    def on_prediction_step(self, args: Any, state: Any, control: Any, **_: Any) -> None:
        self.now += self.evaluation / 2  # two batches


@pytest.fixture
def hand(monkeypatch: pytest.MonkeyPatch) -> Hand:
    made = Hand()
    monkeypatch.setattr(Allowance, "elapsed", lambda self: self.spent + made.now)
    return made


@pytest.fixture
def day(monkeypatch: pytest.MonkeyPatch) -> Callable[..., None]:
    """Tell the plugin of a day of so many seconds."""

    def tell(limit: float = 1e6, checkpoint_seconds: float = 1e9, replay: str = "") -> None:
        made = Day(Allowance(0.0, 0.0, limit), checkpoint_seconds, replay)
        monkeypatch.setenv(VARIABLE, made.dump())

    tell()
    return tell


def make(folder: Path, hand: Hand, **options: Any) -> Any:
    """A trainer with the plugin; two passes over a few rows of several lengths, twelve steps."""
    set_seed(1)
    config = LlamaConfig(
        vocab_size=40,
        hidden_size=8,
        intermediate_size=16,
        num_hidden_layers=1,
        num_attention_heads=2,
        attention_dropout=0.1,
    )
    settings: dict[str, Any] = {
        "per_device_train_batch_size": 4,
        "per_device_eval_batch_size": 4,
        "num_train_epochs": 2,
        "learning_rate": 0.01,
        "lr_scheduler_type": "cosine",
        "save_strategy": "steps",
        "eval_strategy": "steps",
        "save_steps": 4,
        "eval_steps": 4,
        "logging_steps": 2,
        "save_total_limit": 2,
        "load_best_model_at_end": True,
        "metric_for_best_model": "eval_loss",
        "greater_is_better": False,
        "train_sampling_strategy": "group_by_length",
        **options,
    }
    args = TrainingArguments(
        output_dir=str(folder),
        report_to=[],
        use_cpu=True,
        disable_tqdm=True,
        seed=1,
        **settings,
    )
    trainer: Any = Trainer(
        LlamaForCausalLM(config),
        args,
        data_collator=collate,
        train_dataset=[row(i) for i in range(ROWS)],
        eval_dataset=[row(i) for i in range(100, 108)],
    )
    OnedayPlugin().post_trainer_create(DictDefault({}), trainer)
    trainer.add_callback(hand)
    return trainer


def row(number: int) -> dict[str, list[int]]:
    ids = [(number * 7 + i * 3) % 40 for i in range(6 + number % 5)]
    return {"input_ids": ids, "labels": ids}


def collate(rows: list[dict[str, list[int]]]) -> dict[str, torch.Tensor]:
    longest = max(len(one["input_ids"]) for one in rows)
    padded = [one["input_ids"] + [0] * (longest - len(one["input_ids"])) for one in rows]
    labels = [one["labels"] + [-100] * (longest - len(one["labels"])) for one in rows]
    return {"input_ids": torch.tensor(padded), "labels": torch.tensor(labels)}


def weights(trainer: Any) -> Weights:
    return {name: value.clone() for name, value in trainer.model.state_dict().items()}


def same(one: Weights, other: Weights) -> bool:
    return all(torch.equal(one[name], other[name]) for name in one)


def events(capsys: pytest.CaptureFixture[str], kind: str) -> list[dict[str, Any]]:
    """The lines told since the last look."""
    lines = capsys.readouterr().out.splitlines()
    found = [json.loads(x.removeprefix(MARK)) for x in lines if x.startswith(MARK)]
    return [event for event in found if event["event"] == kind]


def steps(folder: Path) -> list[int]:
    """The whole checkpoints."""
    found = checkpoints.found(folder)
    assert all(checkpoints.fault(path) == "" for path in found)
    return [checkpoints.number(path) for path in found]


def test_axolotl_seeds_before_an_adapter_is_drawn(bare: dict[str, Any]) -> None:
    """0.19 did so after it, and of the same seed came another adapter each time."""
    first, second = bare["drawn"]
    assert first == second and any(first)


def test_what_the_parent_hears(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    watch, state = Watch(), TrainerState(global_step=3, max_steps=9)
    hook = (TrainingArguments(output_dir=str(tmp_path), report_to=[]), state, TrainerControl())
    watch.on_train_begin(*hook)
    watch.on_step_end(*hook)
    watch.on_log(*hook, logs={"loss": 0.5, "note": "text"})
    watch.on_log(*hook)
    watch.on_train_end(*hook)
    lines = [json.loads(x.removeprefix(MARK)) for x in capsys.readouterr().out.splitlines()]
    assert lines.pop() == {**lines[-1], "event": "end", "total": 9, "peak_rss": PEAK}
    assert lines == [
        {"event": "begin", "step": 3, "total": 9},
        {"event": "step", "step": 3},
        {"event": "log", "step": 3, "loss": 0.5},
        {"event": "log", "step": 3},
    ]


class _AnyPeak:
    """A process with torch in it holds between 50 MB and a machine's memory."""

    def __eq__(self, other: object) -> bool:
        return isinstance(other, int) and 50e6 < other < 1e12


PEAK = _AnyPeak()


def test_without_a_day_it_only_watches(
    tmp_path: Path, hand: Hand, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv(VARIABLE, raising=False)
    trainer = make(tmp_path, hand)
    assert {"create_scheduler", "_save_checkpoint"}.isdisjoint(vars(trainer))
    assert any(isinstance(one, Watch) for one in trainer.callback_handler.callbacks)


def test_a_long_day_trains_as_without_us(
    tmp_path: Path,
    hand: Hand,
    day: Any,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    trainer = make(tmp_path / "ours", hand)
    trainer.train()
    told = events(capsys, "save")
    assert [event["step"] for event in told] == [4, 8, 12]
    assert all(event["seconds"] > 0 and event["bytes"] > 1000 for event in told)
    assert 12 in steps(tmp_path / "ours") and len(steps(tmp_path / "ours")) == 2
    assert not (tmp_path / "ours" / schedule.FILE).exists()
    monkeypatch.delenv(VARIABLE)
    plain = make(tmp_path / "plain", hand)
    plain.train()
    assert same(weights(trainer), weights(plain))
    rates = [
        [e["learning_rate"] for e in t.state.log_history if "loss" in e] for t in (trainer, plain)
    ]
    assert rates[0][1:] == rates[1] and len(rates[0]) == 7, "the first step is logged, too"
    best = Path(trainer.state.best_model_checkpoint)
    assert best.parent == tmp_path / "ours" and best.is_dir()
    state = checkpoints.state(tmp_path / "ours" / "checkpoint-12")
    assert state["best_model_checkpoint"] == str(best)


def test_a_short_day_ends_in_time_at_the_floor(
    tmp_path: Path, hand: Hand, day: Any, capsys: pytest.CaptureFixture[str]
) -> None:
    hand.step, hand.evaluation = 10.0, 2.0
    day(limit=105)
    trainer = make(tmp_path, hand, load_best_model_at_end=False)
    trainer.train()
    (stop,) = events(capsys, "stop")
    assert stop["kind"] == "time"
    assert f"the budget ended training at step {stop['step']} of 12" in stop["reason"]
    assert 6 <= stop["step"] < 11 and hand.now <= 105 - schedule.FINISH
    assert steps(tmp_path)[0] == stop["step"]
    history = trainer.state.log_history
    assert [e["step"] for e in history if "eval_loss" in e][-1] == stop["step"]
    rates = [e["learning_rate"] for e in history if "loss" in e]
    assert rates[-1] < 0.1 * max(rates)
    record = schedule.read(tmp_path / schedule.FILE)
    assert (record["planned"], record["stop"], record["evaluated"]) == (12, stop["step"], True)
    assert record["pressed"]


def test_a_short_day_is_made_again_without_a_clock(tmp_path: Path, hand: Hand, day: Any) -> None:
    hand.step, hand.evaluation = 10.0, 2.0
    day(limit=105)
    first = make(tmp_path / "first", hand)
    first.train()
    hand.step = hand.evaluation = 0.0
    day(limit=0.0, replay=str(tmp_path / "first" / schedule.FILE))
    again = make(tmp_path / "again", hand)
    again.train()
    assert same(weights(first), weights(again))
    files = [(tmp_path / name / schedule.FILE).read_bytes() for name in ("first", "again")]
    assert files[0] == files[1]
    day()
    plain = make(tmp_path / "plain", hand)
    plain.train()
    assert not same(weights(first), weights(plain))


def test_an_evaluation_that_does_not_fit_is_skipped(tmp_path: Path, hand: Hand, day: Any) -> None:
    hand.step, hand.evaluation = 1.0, 0.0
    day(limit=40)
    trainer = make(tmp_path, hand)
    hand.at[12] = lambda: setattr(hand, "now", 39.0)  # the last step takes ages
    trainer.train()
    evaluated = [e["step"] for e in trainer.state.log_history if "eval_loss" in e]
    assert evaluated == [4, 8] and steps(tmp_path)[0] == 12
    assert schedule.read(tmp_path / schedule.FILE)["evaluated"] is False


def test_a_day_with_no_room_for_a_step(
    tmp_path: Path, hand: Hand, day: Any, capsys: pytest.CaptureFixture[str]
) -> None:
    day(limit=30)
    hand.now = 25.0
    with pytest.raises(SystemExit) as ended:
        make(tmp_path, hand).train()
    (stop,) = events(capsys, "stop")
    assert ended.value.code == 1 and stop["kind"] == "fault" and stop["step"] == 0
    assert "budget.hours" in stop["reason"] and "25 s went by" in stop["reason"]


def test_resumed_with_no_room_for_a_step(
    tmp_path: Path, hand: Hand, day: Any, capsys: pytest.CaptureFixture[str]
) -> None:
    interrupted(tmp_path, hand, 6)
    day(limit=30)
    hand.now = 25.0
    with pytest.raises(SystemExit) as ended:
        make(tmp_path, hand).train(resume_from_checkpoint=True)
    (stop,) = events(capsys, "stop")
    assert ended.value.code == 0 and stop["kind"] == "time" and stop["step"] == 4


def evaluations(trainer: Any) -> list[int]:
    """Steps after which the validation rows were gone through."""
    return [entry["step"] for entry in trainer.state.log_history if "eval_loss" in entry]


def test_the_base_is_evaluated_where_the_day_is_long_and_once(
    tmp_path: Path, hand: Hand, day: Any
) -> None:
    hand.now = 10.0  # of start-up
    long = make(tmp_path / "long", hand, eval_on_start=True)
    long.train()
    assert evaluations(long) == [0, 4, 8, 12]
    interrupted(tmp_path / "cut", hand, 6, eval_on_start=True)
    again = make(tmp_path / "cut", hand, eval_on_start=True)
    again.train(resume_from_checkpoint=True)
    assert evaluations(again) == [0, 4, 8, 12]
    day(limit=109)
    hand.now = 10.0
    short = make(tmp_path / "short", hand, eval_on_start=True)
    short.train()
    assert evaluations(short) == [4, 8, 12]


def interrupted(
    folder: Path, hand: Hand, step: int, resume: bool | None = None, **options: Any
) -> None:
    """Train until a step, then end as abruptly as one can inside a process."""

    def kill() -> None:
        raise KeyboardInterrupt

    hand.at = {step: kill}
    with pytest.raises(KeyboardInterrupt):
        make(folder, hand, **options).train(resume_from_checkpoint=resume)
    hand.at = {}


def test_killed_behind_its_last_step_it_leaves_what_it_would_have(
    tmp_path: Path, hand: Hand, day: Any
) -> None:
    """The evaluation of the last step was made before; a rebuilt run must make it, too."""
    make(tmp_path, hand).train()
    again = make(tmp_path, hand)
    again.train(resume_from_checkpoint=True)
    assert again.state.global_step == 12 and evaluations(again) == [4, 8, 12]
    assert not (tmp_path / schedule.FILE).exists()


@pytest.mark.parametrize("sampling", ["group_by_length", "random"])
@pytest.mark.parametrize("step", [3, 6, 8, 11])
def test_resuming_is_exact(step: int, sampling: str, tmp_path: Path, hand: Hand, day: Any) -> None:
    """Six steps an epoch, a checkpoint every second: in an epoch, at its end, twice."""
    often: Any = {"save_steps": 2, "eval_steps": 2, "train_sampling_strategy": sampling}
    whole = make(tmp_path / "whole", hand, **often)
    whole.train()
    interrupted(tmp_path / "cut", hand, step, **often)
    interrupted(tmp_path / "cut", hand, 12, resume=True, **often)
    again = make(tmp_path / "cut", hand, **often)
    again.train(resume_from_checkpoint=True)
    assert same(weights(whole), weights(again))


def test_transformers_own_resuming_is_not(
    tmp_path: Path, hand: Hand, monkeypatch: pytest.MonkeyPatch
) -> None:
    """When this fails, it goes on with the epoch's own order of rows, and EpochStart can go."""
    monkeypatch.delenv(VARIABLE, raising=False)
    often: Any = {"save_steps": 2, "eval_steps": 2, "load_best_model_at_end": False}
    whole = make(tmp_path / "whole", hand, **often)
    whole.train()
    interrupted(tmp_path / "cut", hand, 9, **often)
    again = make(tmp_path / "cut", hand, **often)
    again.train(resume_from_checkpoint=True)
    assert again.state.global_step == 12 and not same(weights(whole), weights(again))


def test_transformers_own_resuming_forgets_the_best_of_a_moved_run(
    tmp_path: Path, hand: Hand, monkeypatch: pytest.MonkeyPatch
) -> None:
    """When this fails, it looks where the folder is now, and _point_to_best can go."""
    monkeypatch.delenv(VARIABLE, raising=False)
    make(tmp_path / "here", hand).train()
    (tmp_path / "here").rename(tmp_path / "there")
    moved = make(tmp_path / "there", hand)
    moved.train(resume_from_checkpoint=True)
    assert moved.state.best_metric and moved.state.best_model_checkpoint is None


def test_a_pressed_schedule_is_resumed(tmp_path: Path, hand: Hand, day: Any) -> None:
    hand.step, hand.evaluation = 10.0, 2.0
    day(limit=105)
    often: Any = {"save_steps": 2, "eval_steps": 2}
    interrupted(tmp_path, hand, 6, **often)
    kept = schedule.read(tmp_path / "checkpoint-4" / schedule.FILE)
    assert kept["stop"] == 4 and kept["pressed"]
    trainer = make(tmp_path, hand, **often)
    trainer.train(resume_from_checkpoint=True)
    record = schedule.read(tmp_path / schedule.FILE)
    assert record["pressed"][: len(kept["pressed"])] == kept["pressed"]
    progress = [value for _, value in record["pressed"]]
    assert progress == sorted(progress) and len(progress) > len(kept["pressed"])


def test_a_checkpoint_by_wall_time(
    tmp_path: Path, hand: Hand, day: Any, capsys: pytest.CaptureFixture[str]
) -> None:
    hand.step = 10.0
    day(checkpoint_seconds=25)
    make(tmp_path, hand, save_steps=100, eval_steps=3, load_best_model_at_end=False).train()
    # Steps 3, 6 and 9 are evaluated: one of those would come to be the best by chance.
    assert [event["step"] for event in events(capsys, "save")] == [4, 7, 10, 12]


def test_nan_ends_training_and_keeps_the_last_good_checkpoint(
    tmp_path: Path, hand: Hand, day: Any, capsys: pytest.CaptureFixture[str]
) -> None:
    trainer = make(tmp_path, hand)
    hand.at[5] = lambda: trainer.model.lm_head.weight.data.fill_(math.nan)
    with pytest.raises(SystemExit) as ended:
        trainer.train()
    (stop,) = events(capsys, "stop")
    assert ended.value.code == 1 and stop["kind"] == "fault"
    assert "became nan by step 6" in stop["reason"]
    assert steps(tmp_path) == [4]


def test_weights_of_nan_are_never_a_checkpoint(
    tmp_path: Path, hand: Hand, day: Any, capsys: pytest.CaptureFixture[str]
) -> None:
    trainer = make(
        tmp_path, hand, logging_steps=100, eval_strategy="no", load_best_model_at_end=False
    )
    hand.at[5] = lambda: trainer.model.lm_head.weight.data.fill_(math.inf)
    with pytest.raises(SystemExit):
        trainer.train()
    (stop,) = events(capsys, "stop")
    assert "weights became NaN or infinite by step 8" in stop["reason"]
    assert steps(tmp_path) == [4]


def test_a_first_loss_that_no_sound_model_has(
    tmp_path: Path, hand: Hand, day: Any, capsys: pytest.CaptureFixture[str]
) -> None:
    trainer = make(tmp_path, hand)
    trainer.model.lm_head.weight.data.mul_(1000)
    with pytest.raises(SystemExit):
        trainer.train()
    (stop,) = events(capsys, "stop")
    assert stop["step"] == 1 and "first loss" in stop["reason"]


def test_a_disk_full_at_a_checkpoint(
    tmp_path: Path,
    hand: Hand,
    day: Any,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    whole = make(tmp_path / "whole", hand)
    whole.train()
    real = torch.save

    def full(value: Any, file: Any, *more: Any, **options: Any) -> None:
        if "checkpoint-8" in str(file) and "scheduler" in str(file):
            raise OSError(errno.ENOSPC, "No space left on device")
        real(value, file, *more, **options)

    with monkeypatch.context() as patch:
        patch.setattr(torch, "save", full)
        with pytest.raises(SystemExit) as ended:
            make(tmp_path / "full", hand).train()
    stop = events(capsys, "stop")[-1]
    assert ended.value.code == 1 and stop["kind"] == "fault"
    assert "checkpoint of step 8" in stop["reason"] and "No space left" in stop["reason"]
    assert "MB free" in stop["reason"]
    assert (
        steps(tmp_path / "full") == [4] and not (tmp_path / "full" / checkpoints.STAGING).exists()
    )
    again = make(tmp_path / "full", hand)
    again.train(resume_from_checkpoint=True)
    assert same(weights(whole), weights(again))


def test_the_best_checkpoint_is_found_in_a_moved_run(tmp_path: Path, hand: Hand, day: Any) -> None:
    interrupted(tmp_path / "here", hand, 10)
    (tmp_path / "here").rename(tmp_path / "there")
    trainer = make(tmp_path / "there", hand)
    trainer.train(resume_from_checkpoint=True)
    assert Path(trainer.state.best_model_checkpoint).parent == tmp_path / "there"


def test_an_older_best_checkpoint_is_loaded_from_a_moved_run(
    tmp_path: Path, hand: Hand, day: Any
) -> None:
    """No later one is better: transformers alone would forget it, and keep the last weights."""
    interrupted(tmp_path / "here", hand, 10)
    state = checkpoints.state(tmp_path / "here" / "checkpoint-8")
    old = tmp_path / "here" / "checkpoint-4"
    state |= {"best_model_checkpoint": str(old), "best_metric": 0.001, "best_global_step": 4}
    (tmp_path / "here" / "checkpoint-8" / checkpoints.STATE).write_text(json.dumps(state))
    best = load_file(old / "model.safetensors")
    (tmp_path / "here").rename(tmp_path / "there")
    trainer = make(tmp_path / "there", hand)
    trainer.train(resume_from_checkpoint=True)
    assert Path(trainer.state.best_model_checkpoint) == tmp_path / "there" / "checkpoint-4"
    kept = weights(trainer)
    assert all(torch.equal(kept[name], value) for name, value in best.items())


def test_a_best_checkpoint_that_is_gone(
    tmp_path: Path, hand: Hand, day: Any, capsys: pytest.CaptureFixture[str]
) -> None:
    interrupted(tmp_path, hand, 10)
    state = checkpoints.state(tmp_path / "checkpoint-8")
    state["best_model_checkpoint"], state["best_metric"] = str(tmp_path / "checkpoint-4"), 0.001
    state["best_global_step"] = 4
    (tmp_path / "checkpoint-8" / checkpoints.STATE).write_text(json.dumps(state))
    for file in (tmp_path / "checkpoint-4").iterdir():
        file.unlink()
    (tmp_path / "checkpoint-4").rmdir()
    trainer = make(tmp_path, hand)
    trainer.train(resume_from_checkpoint=True)
    assert "checkpoint-4, is gone" in events(capsys, "note")[0]["text"]
    assert Path(trainer.state.best_model_checkpoint).name == "checkpoint-12"


def test_a_scheduler_that_is_no_function_of_steps(
    tmp_path: Path, hand: Hand, day: Any, capsys: pytest.CaptureFixture[str]
) -> None:
    trainer = make(tmp_path, hand, eval_strategy="no", load_best_model_at_end=False)
    trainer.create_optimizer()
    trainer.lr_scheduler = OneCycleLR(trainer.optimizer, 0.01, total_steps=20)
    trainer.train()
    (note,) = events(capsys, "note")
    assert "OneCycleLR goes by steps" in note["text"]


def test_a_scheduler_that_is_asked_for_twice_is_timed_once(
    tmp_path: Path, hand: Hand, day: Any
) -> None:
    """As DeepSpeed's integration and the trainer after it do."""
    trainer = make(tmp_path, hand)
    trainer.create_optimizer()
    scheduler = trainer.create_scheduler(12)
    timed = list(scheduler.lr_lambdas)
    assert trainer.create_scheduler(12) is scheduler and scheduler.lr_lambdas == timed


def test_evaluations_at_an_epochs_end(tmp_path: Path, hand: Hand, day: Any) -> None:
    by_epoch = {"eval_strategy": "epoch", "save_strategy": "epoch"}
    hand.step, hand.evaluation = 10.0, 2.0
    trainer = make(tmp_path / "long", hand, **by_epoch)
    trainer.train()
    assert [e["step"] for e in trainer.state.log_history if "eval_loss" in e] == [6, 12]
    hand.now = 0.0
    day(limit=125)
    short = make(tmp_path / "short", hand, **by_epoch)
    short.train()
    evaluated = [e["step"] for e in short.state.log_history if "eval_loss" in e]
    assert evaluated == [6, short.state.global_step] and short.state.global_step < 12
    assert hand.now <= 125 - schedule.FINISH


def test_axolotl_leaves_it_off_where_held_out_rows_are_not_packed(bare: dict[str, Any]) -> None:
    """When this fails, Axolotl turns it on again itself and evaluate_evenly can go."""
    assert bare["even_batches"] is False
