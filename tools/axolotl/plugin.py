"""Our Axolotl plugin: a seed before weights exist, the day, whole checkpoints, a watched loss.

What it decides is decided by pure functions (``tools.day.schedule``, ``tools.day.guard``,
``tools.day.checkpoints``); here they meet the trainer. Of several jobs (cards) the first one's
clock counts for all, and it alone tells the parent process what happens.
"""

import json
import os
import resource
import shutil
import sys
import time
import traceback
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any, NoReturn

import torch
from accelerate.utils import broadcast_object_list
from axolotl.integrations.base import BasePlugin
from axolotl.utils.dict import DictDefault
from safetensors import SafetensorError
from torch.optim.lr_scheduler import LambdaLR
from transformers import TrainerCallback, TrainerControl, TrainerState, TrainingArguments, set_seed
from transformers.trainer_utils import has_length, rotate_checkpoints

from tools.axolotl import packed_attention
from tools.axolotl.token_loss import TokenLoss, evaluate_evenly
from tools.day import checkpoints, guard, schedule
from tools.files import write_text

MARK = "@oneday "  # begins the lines on stdout that tools.axolotl.child reads
_EPOCH = "epoch_rng.pt"  # in a checkpoint: torch's random state that its epoch began with


class OnedayPlugin(BasePlugin):
    """What Axolotl leaves to chance, to the clock on the wall, or to the reader of its log."""

    def pre_model_load(self, cfg: DictDefault) -> None:
        """Seed before LoRA's A matrices are drawn: bare Axolotl seeds after it, so runs differ."""
        set_seed(cfg.seed)
        plain = cfg.attn_implementation == packed_attention.NAME
        if plain and cfg.sample_packing and cfg.sdpa_varlen:
            packed_attention.install()  # over Axolotl's own, which leaves windows out

    def post_trainer_create(self, cfg: DictDefault, trainer: Any) -> None:
        """Watch every training; keep those to the day that were told of one."""
        trainer.add_callback(Watch())
        trainer.add_callback(Apart())
        evaluate_evenly(trainer)
        TokenLoss(trainer)
        if text := os.environ.get(schedule.VARIABLE):
            # The trainer would hide a loss of NaN, and not log the first one.
            trainer.args.logging_nan_inf_filter = False
            trainer.args.logging_first_step = True
            deadline, epoch = Deadline(schedule.Day.load(text), trainer), EpochStart(trainer)
            for callback in (Guard(trainer.compute_loss_func is None), deadline, epoch):
                trainer.add_callback(callback)
            keep_whole(trainer, (deadline.keep, epoch.keep))


class Watch(TrainerCallback):
    """Progress lines for the parent process."""

    def on_train_begin(
        self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **_: Any
    ) -> None:
        """Tell where training starts and ends."""
        _tell(event="begin", step=state.global_step, total=state.max_steps)

    def on_step_end(
        self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **_: Any
    ) -> None:
        """Tell every step."""
        _tell(event="step", step=state.global_step)

    def on_log(
        self,
        args: TrainingArguments,
        state: TrainerState,
        control: TrainerControl,
        logs: dict[str, Any] | None = None,
        **_: Any,
    ) -> None:
        """Pass on what the trainer logs: loss, eval_loss, learning rate."""
        numbers = {k: v for k, v in (logs or {}).items() if isinstance(v, (int, float))}
        _tell(event="log", step=state.global_step, **numbers)

    def on_train_end(
        self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **_: Any
    ) -> None:
        """Tell of a regular end: Axolotl also exits with 0 after Ctrl+C."""
        _tell(event="end", step=state.global_step, total=state.max_steps, peak_rss=_peak_rss())


class Apart(TrainerCallback):
    """Ends a training in whose packs the documents see one another."""

    def on_step_end(
        self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **_: Any
    ) -> None:
        """Look once the first step has shown which attention the model calls."""
        if packed_attention.unused():
            _end(state.global_step, "fault", guard.PACKS)


class Guard(TrainerCallback):
    """Ends a training whose loss, plain cross entropy or not, shows that it is broken."""

    def __init__(self, plain: bool) -> None:
        self._plain = plain

    def on_log(
        self,
        args: TrainingArguments,
        state: TrainerState,
        control: TrainerControl,
        model: Any = None,
        logs: dict[str, Any] | None = None,
        **_: Any,
    ) -> None:
        """Look at what was logged."""
        rows = model.config.get_text_config().vocab_size  # multimodal ones keep it a level down
        if reason := guard.loss_fault(state.global_step, logs or {}, rows, self._plain):
            _end(state.global_step, "fault", reason)


class Deadline(TrainerCallback):
    """Stops in time, saves by time, and moves the learning rate on when time presses.

    Args:
        day: what the parent process told.
        trainer: Axolotl's; its schedulers are made here from now on.
    """

    course: schedule.Course

    def __init__(self, day: schedule.Day, trainer: Any) -> None:
        self._day, self._trainer = day, trainer
        self._evaluates = trainer.eval_dataset is not None and trainer.args.eval_strategy != "no"
        weights = sum(p.numel() * p.element_size() for p in _trained(trainer.model))
        self._meter = schedule.Meter(weights)
        self._lap = self._saved = 0.0  # seconds of the day at the last event, and the last save
        self._evaluated = -1  # step of the last evaluation
        self._stopped = False
        self._create = trainer.create_scheduler
        trainer.create_scheduler = self._create_scheduler

    def on_train_begin(
        self,
        args: TrainingArguments,
        state: TrainerState,
        control: TrainerControl,
        train_dataloader: Any = None,
        **_: Any,
    ) -> None:
        """Start the laps; end at once when not even one step fits."""
        _point_to_best(args, state)
        self._meter.evaluation_steps = self._evaluation_steps(train_dataloader)
        self._meter.compares = state.best_metric is not None
        self._lap = self._saved = self._elapsed()
        self._meter.start_up = self._lap - self._day.allowance.spent
        if state.global_step or self._left() < schedule.SHORT_DAY * self._meter.start_up:
            args.eval_on_start = False  # a resumed training would do it twice
        if self._day.replay or self._left() >= self._meter.ending:  # a replay has no deadline
            return
        reason = schedule.no_step_fits(self._day.allowance, self._meter.ending)
        # A resumed training has a checkpoint that can become the adapter; a new one has nothing.
        _end(state.global_step, "time" if state.global_step else "fault", reason)

    def on_step_end(
        self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **_: Any
    ) -> None:
        """Decide whether this step was the last, and what follows it."""
        self._meter.stepped(self._tick())
        # By time, too; but not where it would make an evaluated step, by chance, one that is kept.
        if self._lap - self._saved >= self._day.checkpoint_seconds and not control.should_evaluate:
            control.should_save = True
        self._decide(state, control)

    def on_epoch_end(
        self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **_: Any
    ) -> None:
        """As after a step, for evaluations and saves that come with an epoch's end."""
        if self._stopped:  # the cut's own are made; an epoch's end may ask for both again
            control.should_evaluate = control.should_save = False
        elif control.should_evaluate or control.should_save:
            self._decide(state, control)

    def on_evaluate(
        self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **_: Any
    ) -> None:
        """Time it."""
        self._evaluated = state.global_step
        self._meter.evaluated(self._tick(), trained=state.global_step > 0)

    def on_save(
        self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **_: Any
    ) -> None:
        """Time it."""
        self._meter.saved(self._tick())
        self._saved = self._lap

    def on_train_end(
        self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **_: Any
    ) -> None:
        """Leave a record when the clock made a difference: with it the run can be made again."""
        if _first() and schedule.matters(self._record(), self._evaluates):
            self.keep(_folder(args))

    def keep(self, folder: Path) -> None:
        """Write what to follow to come to the present step again."""
        write_text(folder / schedule.FILE, json.dumps(self._record()))

    def _record(self) -> dict[str, Any]:
        state = self._trainer.state
        evaluated = self._evaluated == state.global_step
        return schedule.record(self.course, state.max_steps, state.global_step, evaluated)

    def _decide(self, state: TrainerState, control: TrainerControl) -> None:
        last, due = state.global_step >= state.max_steps, control.should_evaluate
        made = self.course.decide(state.global_step, last, due, control.should_save)
        control.should_evaluate, control.should_save = made.evaluate, made.save
        if made.stop and not last:
            # Logged, too, or the losses since the last log would be in no record.
            self._stopped = control.should_training_stop = control.should_log = True
            reason = schedule.cut_off(state.global_step, state.max_steps)
            _tell(event="stop", step=state.global_step, kind="time", reason=reason)

    def _create_scheduler(self, num_training_steps: int, optimizer: Any = None) -> Any:
        """The trainer's own scheduler, its functions of a step asked at the course's step."""
        scheduler = self._create(num_training_steps, optimizer)
        self.course = self._course(num_training_steps)
        if isinstance(scheduler, LambdaLR):
            inner = scheduler.lr_lambdas
            scheduler.lr_lambdas = [schedule.Timed(one, self.course) for one in inner]
        else:
            name = type(scheduler).__name__
            _tell(
                event="note", step=0, text=f"train.lr_scheduler: {name} goes by steps, not by time"
            )
        return scheduler

    def _course(self, planned: int) -> schedule.Course:
        if self._day.replay:
            return schedule.ByRecord(schedule.read(Path(self._day.replay)))
        return schedule.ByClock(planned, self._meter, self._left)

    def _evaluation_steps(self, batches: Any) -> float:
        """Steps that train on as many rows as an evaluation reads."""
        train, held_out = self._trainer.train_dataset, self._trainer.eval_dataset
        if not (self._evaluates and has_length(train) and has_length(held_out)):
            return 0.0
        steps = len(batches) / self._trainer.args.gradient_accumulation_steps
        return steps * len(held_out) / len(train)

    def _elapsed(self) -> float:
        """Seconds used so far by the first job's clock: all jobs must decide alike."""
        return float(broadcast_object_list([self._day.allowance.elapsed()])[0])

    def _left(self) -> float:
        return self._day.allowance.limit - self._elapsed()

    def _tick(self) -> float:
        """Seconds since it was last called."""
        before, self._lap = self._lap, self._elapsed()
        return self._lap - before


class EpochStart(TrainerCallback):
    """Makes a resumed epoch draw its order of rows as it was drawn at first.

    The trainer goes back to the random numbers of the middle of the epoch after the order was drawn
    from those of a fresh process. That is right in the first epoch only (and where rows are neither
    packed nor grouped by length), so a checkpoint also keeps the state that its epoch began with.

    Args:
        trainer: Axolotl's.
    """

    def __init__(self, trainer: Any) -> None:
        self._trainer = trainer
        self._resumed = False

    def on_train_begin(
        self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **_: Any
    ) -> None:
        """Note whether an epoch is gone on with."""
        self._resumed = state.global_step > 0

    def on_epoch_begin(
        self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **_: Any
    ) -> None:
        """Go back to the state of the epoch's first beginning, or keep it."""
        if self._resumed:
            kept = _folder(args) / f"checkpoint-{state.global_step}" / _EPOCH
            torch.set_rng_state(torch.load(kept, weights_only=True))
            self._resumed = False
        self._begun = torch.get_rng_state()

    def keep(self, folder: Path) -> None:
        """Write the state that the epoch began with; at its end, that of the next one."""
        ended = float(self._trainer.state.epoch).is_integer()
        torch.save(torch.get_rng_state() if ended else self._begun, folder / _EPOCH)


def keep_whole(trainer: Any, additions: Sequence[Callable[[Path], None]]) -> None:
    """Make the trainer save into a folder of its own, and name only whole checkpoints.

    Args:
        trainer: Axolotl's.
        additions: called with the new checkpoint's folder before it is sealed.
    """
    plain = trainer._save_checkpoint

    def save(model: Any, trial: Any, **more: Any) -> None:
        state, began, root = trainer.state, time.monotonic(), _folder(trainer.args)
        _demand_finite(trainer.model, state.global_step)
        # The trainer's own rotation looks there as well, so it removes nothing before we do.
        trainer._get_output_dir = lambda trial: str(root / checkpoints.STAGING)
        try:
            plain(model, trial, **more)
            # Each job adds its random state; the seal must come after the last.
            trainer.accelerator.wait_for_everyone()
            if state.best_model_checkpoint:  # the trainer may have noted it where it is staged
                state.best_model_checkpoint = str(root / Path(state.best_model_checkpoint).name)
            size = _publish(trainer, root, additions) if _first() else 0
        # On a full disk torch and safetensors raise errors of their own.
        except (OSError, RuntimeError, SafetensorError) as error:
            traceback.print_exc()
            _end(state.global_step, "fault", _unsaved(root, state.global_step, error))
        finally:
            del trainer._get_output_dir  # what follows training asks for the real folder
        trainer.accelerator.wait_for_everyone()  # others may look for it by its final name
        seconds = round(time.monotonic() - began, 3)
        _tell(event="save", step=state.global_step, seconds=seconds, bytes=size)

    trainer._save_checkpoint = save


def _publish(trainer: Any, root: Path, additions: Sequence[Callable[[Path], None]]) -> int:
    """Complete, seal and name what was saved, then remove what is too old; its bytes."""
    state = trainer.state
    name = f"checkpoint-{state.global_step}"
    staged = root / checkpoints.STAGING / name
    state.save_to_json(str(staged / checkpoints.STATE))  # now with the best one's final path
    for add in additions:
        add(staged)
    size = checkpoints.publish(staged, root / name)
    # Only now: an older one goes when the new one is whole.
    limit, best = trainer.args.save_total_limit, state.best_model_checkpoint
    rotate_checkpoints(str(root), save_total_limit=limit, best_model_checkpoint=best)
    return size


def _unsaved(root: Path, step: int, error: Exception) -> str:
    """What a user is told of a checkpoint that could not be written; its pieces are removed."""
    free = shutil.disk_usage(root).free  # before the pieces go: as it was when it failed
    shutil.rmtree(root / checkpoints.STAGING, ignore_errors=True)
    return (
        f"the checkpoint of step {step} could not be written ({error}), with {free / 1e6:.1f} MB "
        f"free on the disk of {root.parent}; earlier checkpoints are whole: make room, and the "
        "same command goes on from them"
    )


def _point_to_best(args: TrainingArguments, state: TrainerState) -> None:
    """Find the best checkpoint where the run folder is now; forget one that had to be removed.

    By its step: transformers 5.20 drops the path already where the folder was moved, but keeps the
    metric, so that no later checkpoint would be the best and none would be loaded at the end.
    """
    if not state.best_global_step:
        return
    here = _folder(args) / f"checkpoint-{state.best_global_step}"
    state.best_model_checkpoint = str(here)
    if not here.is_dir():
        state.best_model_checkpoint = state.best_metric = state.best_global_step = None
        text = f"the best checkpoint, {here.name}, is gone: the best of those to come will be taken"
        _tell(event="note", step=state.global_step, text=text)


def _demand_finite(model: Any, step: int) -> None:
    """No checkpoint of weights that are no numbers."""
    # Stacked, so that a card is waited for once and not for each matrix.
    finite = torch.stack([weights.isfinite().all() for weights in _trained(model)])
    if not finite.all():
        _end(step, "fault", guard.weights_fault(step))


def _trained(model: Any) -> Iterator[Any]:
    return (weights for weights in model.parameters() if weights.requires_grad)


def _folder(args: TrainingArguments) -> Path:
    assert args.output_dir is not None
    return Path(args.output_dir)


def _first() -> bool:
    return os.environ.get("RANK", "0") == "0"


def _peak_rss() -> int:
    """The most memory this process held at a time, bytes (Linux counts it in KiB)."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024


def _end(step: int, kind: str, reason: str) -> NoReturn:
    """Tell why, and leave Axolotl before it saves anything."""
    _tell(event="stop", step=step, kind=kind, reason=reason)
    sys.exit(0 if kind == "time" else 1)


def _tell(**fields: Any) -> None:
    if _first():
        print(MARK + json.dumps(fields), flush=True)
