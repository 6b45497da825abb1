"""The train verb: a trainer makes an adapter, within the day, from the last whole checkpoint on.

Or all weights (``train.adapter: null``): what is said of the adapter holds of the model then.
"""

import math
import statistics
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tools import base_model
from tools.console import say
from tools.data import tokens
from tools.day import checkpoints, guard, schedule
from tools.day.clock import Allowance
from tools.day.watch import TOKENS, View
from tools.errors import StageError, UserError
from tools.run.folder import Run
from tools.stages import learnt
from tools.stages.trainers import trainer_of
from tools.trainers import child

REPLAY = "replay.json"  # in the run folder: the schedule.json of a run to be made again
_PEAK = "memory/max_allocated (GiB)"  # as Axolotl logs it, of a card


def train(run: Run, allowance: Allowance) -> dict[str, Any]:
    """Make ``adapter/``.

    Args:
        run: its data stage must be done.
        allowance: what training may use of the day. When it ends, so does training: with the best
            checkpoint so far.

    Returns:
        Steps, losses and tokens a second, as in the stage's record.

    Raises:
        UserError: no token of the rows is learnt, or every one is.
        StageError: the trainer failed, the day left no time for a step, or the adapter is not a
            trained one.
    """
    base = base_model.local_folder(run.recipe.model)
    share = tokens.learnt_share(tokens.files(run, base)["train"])
    if wrong := guard.share_fault(share):
        raise UserError(wrong)
    config = trainer_of(run.recipe.model).render(run, base)
    with run.produce("train", resume=True) as work:
        # Before the trainer looks: it would take the highest number, whole or not.
        checkpoints.settle(work.folder, lambda text: say(f"train: {text}"))
        try:
            story = _attempt(run, config, work.folder, allowance)
        except KeyboardInterrupt:
            raise KeyboardInterrupt(_kept(run, work.folder)) from None
        if not story.ended:
            _adopt(run, work.folder, story)
        found = _results(work.folder, story, _keeps_best(run), base)
        work.note(learnt_share=round(share, 4), **found)
    say(_summary(work.metrics))
    return work.metrics


@dataclass
class Story:
    """What the trainer told.

    Attributes:
        step: the newest step.
        ended: whether it came to a regular end, be it one by the clock.
        stopped: ``time`` or ``fault`` when it did not make all steps.
        reason: of that, for a user.
        peak_rss: most memory its process held, bytes.
    """

    step: int = 0
    ended: bool = False
    stopped: str = ""
    reason: str = ""
    peak_rss: int = 0

    def see(self, event: child.Event) -> None:
        """Take in one event."""
        self.step = event["step"]
        match event["event"]:
            case "stop":
                self.stopped, self.reason = event["kind"], event["reason"]
            case "end":
                self.ended, self.peak_rss = True, event["peak_rss"]
            case "note":
                say(f"train: {event['text']}")


def _attempt(run: Run, config: Path, folder: Path, allowance: Allowance) -> Story:
    """Let the trainer work until all steps are made, time is over or something is wrong."""
    story, left = Story(), allowance.limit - allowance.elapsed()
    if whole := checkpoints.found(folder):
        story.step = checkpoints.number(whole[0])
        say(f"train: going on from step {story.step}")
    if left <= 0 and not _replay(run):
        story.stopped, story.reason = "time", "no time was left to go on"
        return story
    view = View(run, allowance)

    def watch(event: child.Event) -> None:
        story.see(event)
        view.see(event)

    try:
        trainer = trainer_of(run.recipe.model)
        over, limits = trainer.overrides(run, folder), _limits(run, allowance, left)
        child.call(trainer, run, "train", config, over, watch, **limits)
    except child.Overdue as error:  # first: it is a StageError, too
        story.stopped, story.reason = "time", str(error)
    except StageError:
        if story.stopped != "fault":  # else it has told why itself, and better than a log's end
            raise
    finally:
        view.close()
    if story.stopped == "fault":
        raise StageError(f"train: {story.reason}\n  log: {run.logs / 'train.log'}")
    return story


def _kept(run: Run, folder: Path) -> str:
    """What an interrupted training can go on from."""
    there = checkpoints.found(folder)
    # Sealed is enough here: who goes on verifies the hashes.
    whole = [path for path in there if (path / checkpoints.COMPLETE).is_file()]
    if whole:
        step = checkpoints.number(whole[0])
        return f"the checkpoint of step {step} is kept, the same command goes on from it"
    return (
        "no checkpoint was written yet, so the same command trains from the first step on (one "
        f"comes every {run.recipe.budget.checkpoint_minutes:g} minutes, "
        "budget.checkpoint_minutes, and by train.save_steps)"
    )


def _limits(run: Run, allowance: Allowance, left: float) -> dict[str, Any]:
    """What the child is told of the day, and when it is ended should it not heed that.

    It heeds by its own estimates: only a hang is longer late than a hundredth of its time.
    """
    replay = _replay(run)
    seconds = 60 * run.recipe.budget.checkpoint_minutes
    soup = run.recipe.soup
    kept = soup.checkpoints if soup else 0
    day = schedule.Day(allowance, seconds, str(replay or ""), kept=kept)
    late = min(300.0, max(15.0, allowance.limit / 100))
    return {
        "variables": {schedule.VARIABLE: day.dump()},
        "seconds": None if replay else left + late,
    }


def _replay(run: Run) -> Path | None:
    path = run.path / REPLAY
    return path if path.is_file() else None


def _adopt(run: Run, folder: Path, story: Story) -> None:
    """Take the newest or best checkpoint when the trainer was stopped before its own end.

    A trainer's exit code is 0 even when it was told to stop: only what it told counts.
    """
    if story.stopped != "time":
        name = trainer_of(run.recipe.model).name
        raise StageError(f"{name} train stopped at step {story.step}, before its end; run again")
    say(f"train: {story.reason}")
    # Once more: a process that was ended may have been at a save.
    checkpoints.settle(folder, lambda text: say(f"train: {text}"))
    step = checkpoints.adopt(folder, _keeps_best(run))
    if step is None:
        raise StageError(
            "train: time was over before there was a whole checkpoint; raise budget.hours, lower "
            "budget.reserve_minutes, or lower budget.checkpoint_minutes"
        )
    say(f"train: the checkpoint of step {step} becomes the adapter")


def _keeps_best(run: Run) -> bool:
    """Whether the best checkpoint becomes the adapter, and not the newest."""
    return bool(run.recipe.train.get("load_best_model_at_end"))


def _results(folder: Path, story: Story, best: bool, base: Path) -> dict[str, Any]:
    """The record: steps, losses, speed, memory, and a look at the weights themselves."""
    newest, kept = checkpoints.found(folder), checkpoints.chosen(folder, best)
    if kept is None:
        raise StageError("train: no checkpoint was saved; set train.save_strategy=steps")
    state = checkpoints.state(newest[0])
    history = state["log_history"]
    return {
        "steps": state["global_step"],
        "planned_steps": state["max_steps"],
        "stopped": story.stopped or None,
        **_losses(history, checkpoints.number(kept)),
        **_speed(history, story),
        "trained_parameters": _verified(folder, story, base),
        "log": history,
    }


def _verified(folder: Path, story: Story, base: Path) -> int:
    """How many numbers were trained; they are finite, and not those that training began with."""
    found = learnt.look(folder, base)
    if found.moved:
        return found.parameters
    if not story.stopped:
        raise StageError(f"train: {found.untrained}")
    checkpoints.clear(folder)  # their schedule is at its end: no day could go on from them
    raise StageError(
        f"train: the budget left time for {story.step} step(s), too few to learn anything; "
        "raise budget.hours or lower budget.reserve_minutes"
    )


def _losses(history: list[dict[str, Any]], kept: int) -> dict[str, Any]:
    """First and last loss in training, and on held-out rows that of the step that is kept."""
    train = _values(history, "loss")
    # Before the first step it is the base that is evaluated, behind the kept one another adapter.
    held_out = [e["eval_loss"] for e in history if "eval_loss" in e and 0 < e["step"] <= kept]
    if not train:
        raise StageError("train: no loss was logged; lower train.logging_steps")
    if not all(math.isfinite(loss) for loss in train):
        raise StageError("train: the loss became NaN or infinite; lower train.learning_rate")
    return {
        "first_loss": train[0],
        "last_loss": train[-1],
        "eval_loss": held_out[-1] if held_out else None,
    }


def _speed(history: list[dict[str, Any]], story: Story) -> dict[str, Any]:
    """Median learnt tokens a second and card; peak memory, of the card where there is one."""
    speeds, card = _values(history, TOKENS), max(_values(history, _PEAK), default=0.0)
    return {
        "tokens_per_second": statistics.median(speeds) if speeds else None,
        "peak_gpu_gib": card or None,
        "peak_process_gib": round(story.peak_rss / 2**30, 2) or None,
    }


def _values(history: list[dict[str, Any]], name: str) -> list[float]:
    return [entry[name] for entry in history if name in entry]


def _summary(found: dict[str, Any]) -> str:
    steps, planned = found["steps"], found["planned_steps"]
    cut = f" of {planned}, as many as the budget allows" if found["stopped"] else ""
    held_out = "" if found["eval_loss"] is None else f", eval_loss {found['eval_loss']:.3f}"
    return (
        f"train: {steps} steps{cut}, loss {found['first_loss']:.3f} to "
        f"{found['last_loss']:.3f}{held_out}, {found['trained_parameters'] / 1e6:.1f} M parameters"
    )
