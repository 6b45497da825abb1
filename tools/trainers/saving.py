"""Whole checkpoints of finite weights, of one job or of several."""

import shutil
import time
import traceback
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError
from transformers import TrainingArguments
from transformers.trainer_utils import rotate_checkpoints

from tools.day import checkpoints, guard
from tools.trainers.telling import end, first, several, tell


def keep_whole(trainer: Any, additions: Sequence[Callable[[Path], None]]) -> None:
    """Make the trainer save into a folder of its own, and name only whole checkpoints.

    Args:
        trainer: transformers' or Axolotl's.
        additions: called with the new checkpoint's folder before it is sealed.
    """
    plain = trainer._save_checkpoint

    def save(model: Any, trial: Any, **more: Any) -> None:
        state, began, root = trainer.state, time.monotonic(), folder_of(trainer.args)
        _demand_finite(trainer, state.global_step)
        # The trainer's own rotation looks there as well, so it removes nothing before we do.
        trainer._get_output_dir = lambda trial: str(root / checkpoints.STAGING)
        try:
            plain(model, trial, **more)
            # Each job adds its random state; the seal must come after the last.
            trainer.accelerator.wait_for_everyone()
            if state.best_model_checkpoint:  # the trainer may have noted it where it is staged
                state.best_model_checkpoint = str(root / Path(state.best_model_checkpoint).name)
            size = _publish(trainer, root, additions) if first() else 0
        # On a full disk torch and safetensors raise errors of their own.
        except (OSError, RuntimeError, SafetensorError) as error:
            if _by_another_job(error):
                raise
            traceback.print_exc()
            # The others have no such error: they wait until torchrun ends them for this one's sake.
            end(state.global_step, "fault", _unsaved(root, state.global_step, error), alone=True)
        finally:
            del trainer._get_output_dir  # what follows training asks for the real folder
        trainer.accelerator.wait_for_everyone()  # others may look for it by its final name
        seconds = round(time.monotonic() - began, 3)
        tell(event="save", step=state.global_step, seconds=seconds, bytes=size)

    trainer._save_checkpoint = save


def leave_adapters(trainer: Any, count: int) -> Callable[[Path], None]:
    """An addition that copies adapters out of checkpoints, as many as a soup may take.

    Only of those that come by steps or epochs: when the clock writes one is chance, and a run that
    is made again would have others.

    Args:
        trainer: as in ``keep_whole``.
        count: of the last ones.
    """

    def leave(checkpoint: Path) -> None:
        state = trainer.state
        if count and _regular(trainer.args.save_strategy, state):
            checkpoints.keep(checkpoint, folder_of(trainer.args), state.global_step, count)

    return leave


def _regular(strategy: str, state: Any) -> bool:
    """Whether a step is one that the recipe has saved, whatever the clock says."""
    if strategy == "epoch":
        return float(state.epoch).is_integer()
    return state.global_step % state.save_steps == 0 or state.global_step >= state.max_steps


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


def _by_another_job(error: Exception) -> bool:
    """Whether it is no disk that failed but another job, which a barrier waited for."""
    told = isinstance(error, (OSError, SafetensorError)) or "PytorchStreamWriter" in str(error)
    return several() and not told


def _demand_finite(trainer: Any, step: int) -> None:
    """No checkpoint of weights that are no numbers; each job looks at what it holds of them."""
    # Stacked, so that a card is waited for once and not for each matrix.
    finite = torch.stack([_held(weights).isfinite().all() for weights in trained(trainer.model)])
    broken = trainer.accelerator.reduce((~finite.all()).int(), reduction="sum")
    if broken:
        end(step, "fault", guard.weights_fault(step))


def _held(weights: Any) -> Any:
    """What this job holds of a matrix that FSDP (a ``DTensor``) or ZeRO-3 has shared out."""
    if hasattr(weights, "to_local"):
        return weights.to_local()
    return getattr(weights, "ds_tensor", weights)


def trained(model: Any) -> Iterator[Any]:
    """The weights that are trained."""
    return (weights for weights in model.parameters() if weights.requires_grad)


def folder_of(args: TrainingArguments) -> Path:
    """Where a training puts what it makes."""
    assert args.output_dir is not None
    return Path(args.output_dir)
