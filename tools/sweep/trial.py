"""A trial: a run folder of its own beside the others, which trains as far as it is worth it."""

import contextlib
import dataclasses
import io
import math
import os
import shutil
import time
from collections.abc import Callable
from dataclasses import dataclass
from itertools import takewhile
from pathlib import Path
from typing import Any

from tools import base_model
from tools.check.findings import Finding, check
from tools.data import tokens
from tools.day import checkpoints, schedule
from tools.day.clock import Allowance
from tools.errors import StageError, UserError
from tools.files import file_digest, read_json, write_text
from tools.recipe.axes import SEED, incomparable
from tools.recipe.load import Loaded
from tools.recipe.show import show
from tools.recipe.written import tree
from tools.run.folder import RECORD, Run
from tools.stages.trainers import trainer_of
from tools.sweep.search import Broken, Judge, TimeUp
from tools.sweep.space import Values, text
from tools.sweep.study import Trial
from tools.trainers import child

NO_LIMIT = 1e9  # seconds: a trial's learning rate goes by steps, and the sweep ends it in time
HELD_OUT = "validation.jsonl"
Compose = Callable[[Values], Loaded]
Make = Callable[[Run, str], Any]


class _Over(Exception):
    """The trial does not go on; its process need not end by itself."""


@dataclass(frozen=True)
class Trials:
    """What makes a trial of values.

    Attributes:
        run: the run that the sweep is of, its rows made.
        place: where the trials' folders live.
        compose: loads the recipe with values over its own.
        make: makes a stage of a run whose lock is held.
        rungs: shares of a whole training.
        allowance: what the sweep may use of the day.
        heard: called with a trial's number and every event of its trainer.
    """

    run: Run
    place: Path
    compose: Compose
    make: Make
    rungs: tuple[float, ...]
    allowance: Allowance
    heard: Callable[[int, child.Event], None] = lambda number, event: None

    def attempt(self, trial: Trial, judge: Judge) -> None:
        """Train until the trial is beaten, or at the last rung.

        Raises:
            Broken: its training cannot be gone on with.
            TimeUp: the sweep's share of the day is over.
            StageError: the disk is full.
        """
        try:
            run = self.folder(trial)
            self._train(run, trial, judge)
        except UserError as error:
            raise Broken("; ".join(error.faults)) from None
        except child.Overdue:
            raise TimeUp from None
        except StageError as error:
            if "No space left on device" in str(error):
                raise  # no fault of the values: once there is room the trial goes on
            raise Broken(str(error)) from None

    def folder(self, trial: Trial) -> Run:
        """The trial's own run, with what it shares linked into it.

        Raises:
            UserError: no trial can be made of these values, or none that can be compared.
        """
        loaded = self.compose(trial.values)
        mine = tree(self.run.recipe)
        if SEED in trial.values:  # no axis: a finalist is trained again
            mine["train"]["seed"] = trial.values[SEED]
        if wrong := incomparable(mine, tree(loaded.recipe)):
            raise UserError(f"{text(trial.values)}: {one}" for one in wrong)
        if new := self._new_faults(loaded):
            raise UserError(f"{one.message}; {one.remedy}" for one in new)
        recipe = dataclasses.replace(loaded.recipe, name=f"{trial.number:03}", sweep=None)
        run = Run(recipe, self.place)
        run.path.mkdir(parents=True, exist_ok=True)
        write_text(run.path / "recipe.yaml", show(Loaded(recipe, loaded.origins, loaded.files)))
        rows = self._rows(run)
        _link(run.output("data"), rows)
        _link(run.path / "tokens", self.run.path / "tokens")
        if file_digest(rows / HELD_OUT) != file_digest(self.run.output("data") / HELD_OUT):
            raise UserError(f"{text(trial.values)} holds out other rows: no loss compares them")
        return run

    def _new_faults(self, loaded: Loaded) -> list[Finding]:
        """What fails by a trial's values; past the recipe's own failures ``FORCE=1`` has gone.

        By rule and key: a message tells figures, which are others for each trial.
        """
        failed = _failed(loaded)
        known = {(one.rule, one.key) for one in (_failed(self.compose({})) if failed else ())}
        return [one for one in failed if (one.rule, one.key) not in known]

    def _rows(self, run: Run) -> Path:
        """The folder of a trial's rows; trials of the same ones have one."""
        if run.fingerprint("data") == self.run.fingerprint("data"):
            return self.run.output("data")
        name = run.fingerprint("data")[:12]
        rows = Run(dataclasses.replace(run.recipe, name=name), self.place / "rows")
        with rows.lock():
            if not rows.done("data"):
                with contextlib.redirect_stdout(io.StringIO()):  # the same table for each
                    self.make(rows, "data")
        return rows.output("data")

    def _train(self, run: Run, trial: Trial, judge: Judge) -> None:
        folder = run.unfinished("train")
        folder.mkdir(parents=True, exist_ok=True)
        checkpoints.settle(folder, lambda _: None)
        # What was told before a kill may be more than what a checkpoint has, or less.
        kept = _told(folder, run, self.rungs)
        for rung, loss in enumerate(kept if len(kept) > len(trial.told) else trial.told):
            if not judge(rung, loss):
                return
        ear = _Ear(trial.number, judge, len(self.rungs) - 1, self.heard)
        try:
            self._call(run, folder, ear.hear)
        except _Over:
            return
        except StageError:
            if ear.fault:  # the trainer told why itself, and better than its log's end
                raise Broken(ear.fault) from None
            raise
        if ear.last is None:
            raise Broken(ear.fault or "it ended before its last rung")
        judge(len(self.rungs) - 1, ear.last)

    def _call(self, run: Run, folder: Path, hear: Callable[[child.Event], None]) -> None:
        left = self.allowance.limit - self.allowance.elapsed()
        if left <= 0:
            raise TimeUp
        base = base_model.local_folder(run.recipe.model)
        tokens.files(run, base)
        trainer = trainer_of(run.recipe.model)
        config, over = trainer.render(run, base), trainer.overrides(run, folder)
        endless = Allowance(time.monotonic(), 0.0, NO_LIMIT)
        soup = run.recipe.soup
        kept = soup.checkpoints if soup else 0  # the winner goes on, and would lack its first ones
        seconds = 60 * run.recipe.budget.checkpoint_minutes
        day = schedule.Day(endless, seconds, "", self.rungs, kept)
        variables = {schedule.VARIABLE: day.dump()}
        child.call(trainer, run, "train", config, over, hear, variables=variables, seconds=left)


class _Ear:
    """What a trial's trainer tells, heard rung by rung."""

    def __init__(
        self, number: int, judge: Judge, top: int, heard: Callable[[int, child.Event], None]
    ) -> None:
        self.fault = ""
        self.last: float | None = None
        self._number, self._judge, self._top, self._heard = number, judge, top, heard

    def hear(self, event: child.Event) -> None:
        self._heard(self._number, event)
        if event["event"] == "stop" and event["kind"] == "fault":
            self.fault = event["reason"]
        if event["event"] != "rung":
            return
        loss = event["eval_loss"]
        if not math.isfinite(loss):
            raise Broken(f"eval_loss is {loss} at step {event['step']}")
        if event["rung"] == self._top:
            self.last = loss  # judged when its checkpoint is whole: the winner goes on from there
        elif not self._judge(event["rung"], loss):
            raise _Over


def _failed(loaded: Loaded) -> list[Finding]:
    return [one for one in check(loaded) if one.verdict == "fail"]


def _told(folder: Path, run: Run, rungs: tuple[float, ...]) -> tuple[float, ...]:
    """The losses at the rungs that a trial's newest checkpoint has behind it."""
    whole = checkpoints.found(folder)
    if not whole:
        return ()
    state = checkpoints.state(whole[0])
    by_steps = run.recipe.train.get("eval_strategy", "no") == "steps"
    every = int(state.get("eval_steps") or 0) if by_steps else 0
    losses = {one["step"]: one["eval_loss"] for one in state["log_history"] if "eval_loss" in one}
    steps = schedule.rung_steps(rungs, state["max_steps"], every)
    return tuple(losses[step] for step in takewhile(losses.__contains__, steps))


def _link(name: Path, target: Path) -> None:
    """Have a name in a trial's folder lead to what it shares; the run folder may be moved."""
    target.mkdir(parents=True, exist_ok=True)
    there = os.path.relpath(target, name.parent)
    if name.is_symlink() and name.readlink() == Path(there):
        return
    name.unlink(missing_ok=True)
    name.symlink_to(there, target_is_directory=True)


def hand_over(trial: Run, run: Run) -> int:
    """Give a trial's training to the run that goes on with it; its step, 0 where there is none.

    Args:
        trial: the winner's run.
        run: the run with the winner's values.
    """
    mine, theirs = run.unfinished("train"), trial.unfinished("train")
    # A finished adapter, in its place or kept beside another recipe's, is not written over.
    done = run.record("train") if run.done("train") else read_json(mine / RECORD)
    if done:
        return int(done["metrics"].get("steps") or 0)
    if not checkpoints.found(mine) and checkpoints.found(theirs):
        shutil.rmtree(mine, ignore_errors=True)
        theirs.rename(mine)
    return checkpoints.number(there[0]) if (there := checkpoints.found(mine)) else 0


def drop_checkpoints(place: Path, kept: set[int]) -> None:
    """Remove what trials that were beaten trained; their logs and recipes stay.

    Args:
        place: where the trials' folders live.
        kept: numbers of those that may still go on.
    """
    for folder in place.glob("[0-9]*"):
        if int(folder.name) not in kept:
            for partial in folder.glob(".adapter.*.partial"):
                shutil.rmtree(partial, ignore_errors=True)
