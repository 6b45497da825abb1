"""The day inside a trainer's process: its clock, whole checkpoints, a watched loss.

What is decided here is decided by pure functions (``tools.day.schedule``, ``tools.day.guard``,
``tools.day.checkpoints``); here they meet the trainer, Axolotl's or transformers' own. Of several
jobs (cards) the first one's clock counts for all, it alone names checkpoints and tells the parent
process what happens; another tells only why it leaves by itself. What ends a training is known to
all of them at once, or the others would wait for ever.
"""

import json
import math
import os
import resource
from pathlib import Path
from typing import Any

import torch
from accelerate.utils import broadcast_object_list
from torch.optim.lr_scheduler import LambdaLR
from transformers import TrainerCallback, TrainerControl, TrainerState, TrainingArguments
from transformers.trainer_utils import has_length

from tools.day import guard, schedule
from tools.files import write_text
from tools.trainers.saving import folder_of, keep_whole, leave_adapters, trained
from tools.trainers.telling import end, first, tell
from tools.trainers.token_loss import TokenLoss

_EPOCH = "epoch_rng.pt"  # in a checkpoint: torch's random state that its epoch began with


def attach(trainer: Any, shifted: bool = True, told: bool = True) -> None:
    """Watch a training, whoever's it is; keep it to the day where its process was told of one.

    Args:
        trainer: transformers' or one made of it; nothing of it has run yet.
        shifted: whether a row's label is told from the tokens before it, as in a causal model.
        told: whether the base can tell tokens: what a head says that is new has no bound.
    """
    trainer.add_callback(Watch())
    TokenLoss(trainer, shifted)
    if text := os.environ.get(schedule.VARIABLE):
        # The trainer would hide a loss of NaN, and not log the first one.
        trainer.args.logging_nan_inf_filter = False
        trainer.args.logging_first_step = True
        day = schedule.Day.load(text)
        deadline, epoch = Deadline(day, trainer), EpochStart(trainer)
        plain = told and trainer.compute_loss_func is None
        for callback in (Guard(plain), deadline, epoch):
            trainer.add_callback(callback)
        keep_whole(trainer, (deadline.keep, epoch.keep, leave_adapters(trainer, day.kept)))


class Watch(TrainerCallback):
    """Progress lines for the parent process."""

    def on_train_begin(
        self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **_: Any
    ) -> None:
        """Tell where training starts and ends."""
        tell(event="begin", step=state.global_step, total=state.max_steps)

    def on_step_end(
        self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **_: Any
    ) -> None:
        """Tell every step."""
        tell(event="step", step=state.global_step)

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
        tell(event="log", step=state.global_step, **numbers)

    def on_train_end(
        self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **_: Any
    ) -> None:
        """Tell of a regular end: Axolotl also exits with 0 after Ctrl+C."""
        tell(event="end", step=state.global_step, total=state.max_steps, peak_rss=_peak_rss())


class Guard(TrainerCallback):
    """Ends a training whose loss shows that it is broken.

    Args:
        plain: whether it is cross entropy of what a trained head tells, which has a bound.
    """

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
            end(state.global_step, "fault", reason)


class Deadline(TrainerCallback):
    """Stops in time, saves by time, and moves the learning rate on when time presses.

    Args:
        day: what the parent process told.
        trainer: its schedulers are made here from now on.
    """

    course: schedule.Course

    def __init__(self, day: schedule.Day, trainer: Any) -> None:
        self._day, self._trainer = day, trainer
        self._evaluates = trainer.eval_dataset is not None and trainer.args.eval_strategy != "no"
        weights = sum(p.numel() * p.element_size() for p in trained(trainer.model))
        self._meter = schedule.Meter(weights)
        self._lap = self._saved = 0.0  # seconds of the day at the last event, and the last save
        self._evaluated = -1  # step of the last evaluation
        self._stopped = False
        self._rungs: list[int] = []  # steps at which a trial of a sweep is compared
        self._timed: Any = None  # the scheduler whose steps are the course's
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
        # A training that goes on behind its last step evaluates nothing any more.
        evaluated = [entry["step"] for entry in state.log_history if "eval_loss" in entry]
        self._evaluated = max(evaluated, default=-1)
        self._meter.evaluation_steps = self._evaluation_steps(train_dataloader)
        self._meter.compares = state.best_metric is not None
        every = int(state.eval_steps or 0) if args.eval_strategy == "steps" else 0
        self._rungs = schedule.rung_steps(self._day.rungs, state.max_steps, every)
        self._lap = self._saved = self._elapsed()
        self._meter.start_up = self._lap - self._day.allowance.spent
        if state.global_step or self._left() < schedule.SHORT_DAY * self._meter.start_up:
            args.eval_on_start = False  # a resumed training would do it twice
        if self._day.replay or self._left() >= self._meter.ending:  # a replay has no deadline
            return
        reason = schedule.no_step_fits(self._day.allowance, self._meter.ending)
        # A resumed training has a checkpoint that can become the adapter; a new one has nothing.
        end(state.global_step, "time" if state.global_step else "fault", reason)

    def on_step_end(
        self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **_: Any
    ) -> None:
        """Decide whether this step was the last, and what follows it."""
        self._meter.stepped(self._tick())
        # By time, too; but not where it would make an evaluated step, by chance, one that is kept.
        if self._lap - self._saved >= self._day.checkpoint_seconds and not control.should_evaluate:
            control.should_save = True
        if state.global_step in self._rungs:
            control.should_evaluate = control.should_save = True
        self._decide(state, control)
        if self._rungs and state.global_step >= self._rungs[-1]:
            self._stopped = control.should_training_stop = True

    def on_epoch_end(
        self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **_: Any
    ) -> None:
        """As after a step, for evaluations and saves that come with an epoch's end."""
        if self._stopped:  # the cut's own are made; an epoch's end may ask for both again
            control.should_evaluate = control.should_save = False
        elif control.should_evaluate or control.should_save:
            self._decide(state, control)

    def on_evaluate(
        self,
        args: TrainingArguments,
        state: TrainerState,
        control: TrainerControl,
        metrics: dict[str, float] | None = None,
        **_: Any,
    ) -> None:
        """Time it; tell what a rung of a sweep came to."""
        self._evaluated = state.global_step
        for rung, step in enumerate(self._rungs):
            if step == state.global_step:
                loss = (metrics or {}).get("eval_loss", math.nan)
                tell(event="rung", step=step, rung=rung, eval_loss=loss)
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
        # A trial of a sweep stops where it is told to; the winner goes on as if it had not.
        if first() and not self._rungs and schedule.matters(self._record(), self._evaluates):
            self.keep(folder_of(args))

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
            tell(event="stop", step=state.global_step, kind="time", reason=reason)

    def _create_scheduler(self, num_training_steps: int, optimizer: Any = None) -> Any:
        """The trainer's own scheduler, its functions of a step asked at the course's step."""
        scheduler = self._create(num_training_steps, optimizer)
        if self._timed is scheduler:  # under DeepSpeed the trainer asks twice
            return scheduler
        self._timed = scheduler
        self.course = self._course(num_training_steps)
        if isinstance(scheduler, LambdaLR):
            inner = scheduler.lr_lambdas
            scheduler.lr_lambdas = [schedule.Timed(one, self.course) for one in inner]
        else:
            name = type(scheduler).__name__
            tell(
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
        return float(of_the_first(self._day.allowance.elapsed()))

    def _left(self) -> float:
        return self._day.allowance.limit - self._elapsed()

    def _tick(self) -> float:
        """Seconds since it was last called."""
        before, self._lap = self._lap, self._elapsed()
        return self._lap - before


class EpochStart(TrainerCallback):
    """Makes a resumed epoch draw its order of rows as at first, and all jobs draw the same.

    The trainer goes back to the random numbers of the middle of the epoch after the order was drawn
    from those of a fresh process. That is right in the first epoch only (and where rows are neither
    packed nor grouped by length), so a checkpoint also keeps the state that its epoch began with.
    Of several jobs each takes its share of the order that it drew itself; dropout has moved their
    random numbers apart by the second epoch, and rows would come twice or not at all.

    Args:
        trainer: transformers' or one made of it.
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
            kept = folder_of(args) / f"checkpoint-{state.global_step}" / _EPOCH
            torch.set_rng_state(torch.load(kept, weights_only=True))
            self._resumed = False
        self._begun = of_the_first(torch.get_rng_state())
        torch.set_rng_state(self._begun)

    def keep(self, folder: Path) -> None:
        """Write the state that the epoch began with; at its end, that of the next one."""
        ended = float(self._trainer.state.epoch).is_integer()
        torch.save(torch.get_rng_state() if ended else self._begun, folder / _EPOCH)


def _point_to_best(args: TrainingArguments, state: TrainerState) -> None:
    """Find the best checkpoint where the run folder is now; forget one that had to be removed.

    By its step: transformers 5.20 drops the path already where the folder was moved, but keeps the
    metric, so that no later checkpoint would be the best and none would be loaded at the end.
    """
    if not state.best_global_step:
        return
    here = folder_of(args) / f"checkpoint-{state.best_global_step}"
    state.best_model_checkpoint = str(here)
    if not here.is_dir():
        state.best_model_checkpoint = state.best_metric = state.best_global_step = None
        text = f"the best checkpoint, {here.name}, is gone: the best of those to come will be taken"
        tell(event="note", step=state.global_step, text=text)


def of_the_first(value: Any) -> Any:
    """The first job's value, in all of them."""
    return broadcast_object_list([value])[0]


def _peak_rss() -> int:
    """The most memory this process held at a time, bytes (Linux counts it in KiB)."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024
