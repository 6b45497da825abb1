"""The train verb: Axolotl trains an adapter, from the last whole checkpoint if there is one."""

import json
import math
import shutil
from pathlib import Path
from typing import Any

from tools import axolotl, model, tokens
from tools.console import bar, say
from tools.errors import StageError
from tools.run import Run

COMPLETE = ".complete"  # as in tools.axolotl_plugin, which this process does not import


def train(run: Run) -> dict[str, Any]:
    """Make ``adapter/``.

    Returns:
        Steps, losses and tokens a second, as in the stage's record.

    Raises:
        StageError: Axolotl failed, or the adapter it wrote is not a trained one.
    """
    base = model.local_folder(run.recipe.model)
    tokens.files(run, base)
    config = axolotl.render(run, base)
    with run.produce("train", resume=True) as work:
        start = _drop_broken(work.folder)
        if start:
            say(f"train: going on from step {start}")
        progress = _Progress()
        overrides = {
            "output_dir": str(work.folder),
            "plugins": [
                *run.recipe.train.get("plugins", []),
                "tools.axolotl_plugin.OnedayPlugin",
            ],
            "auto_resume_from_checkpoints": True,
        }
        try:
            axolotl.call(run, "train", config, overrides, progress.see)
        finally:
            progress.close()
        progress.demand_end()
        work.note(steps=progress.step, **_losses(work.folder), **_verify(work.folder))
        _tidy(work.folder)
    say(_summary(work.metrics))
    return work.metrics


def _summary(found: dict[str, Any]) -> str:
    held_out = "" if found["eval_loss"] is None else f", eval_loss {found['eval_loss']:.3f}"
    return (
        f"train: {found['steps']} steps, loss {found['first_loss']:.3f} to "
        f"{found['last_loss']:.3f}{held_out}, {found['trained_parameters'] / 1e6:.1f} M parameters"
    )


class _Progress:
    """The bar, and what the plugin told last."""

    def __init__(self) -> None:
        self.step = 0
        self.ended = False
        self._bar = bar(0, "train", "step")

    def see(self, event: axolotl.Event) -> None:
        """Move the bar."""
        if event["event"] == "begin":
            self._bar.total = event["total"]
        if event["event"] == "log" and "loss" in event:
            self._bar.set_postfix_str(f"loss {event['loss']:.3f}", refresh=False)
        self.step = event["step"]
        self.ended |= event["event"] == "end"
        self._bar.n = self.step
        self._bar.update(0)

    def close(self) -> None:
        """Leave the line."""
        self._bar.close()

    def demand_end(self) -> None:
        """Axolotl's exit code is 0 even when it was told to stop: only its last event counts."""
        if not self.ended:
            raise StageError(
                f"axolotl train stopped at step {self.step}, before its end; run again"
            )


def _drop_broken(folder: Path) -> int:
    """Remove checkpoints that a crash left half-written; the step of the newest whole one, or 0."""
    steps = [0]
    for checkpoint in folder.glob("checkpoint-*"):
        if (checkpoint / COMPLETE).is_file():
            steps.append(int(checkpoint.name.rsplit("-", 1)[1]))
        else:
            say(f"train: {checkpoint.name} is half-written, not used")
            shutil.rmtree(checkpoint)
    return max(steps)


def _losses(folder: Path) -> dict[str, Any]:
    """Losses and speed from the newest checkpoint's trainer state."""
    steps = [int(path.name.rsplit("-", 1)[1]) for path in folder.glob("checkpoint-*")]
    if not steps:
        raise StageError("train: no checkpoint was saved; set train.save_strategy=steps")
    newest = folder / f"checkpoint-{max(steps)}"
    history = json.loads((newest / "trainer_state.json").read_text(encoding="utf-8"))["log_history"]
    train = [entry["loss"] for entry in history if "loss" in entry]
    held_out = [entry["eval_loss"] for entry in history if "eval_loss" in entry]
    if not train:
        raise StageError("train: no loss was logged; lower train.logging_steps")
    found = {
        "first_loss": train[0],
        "last_loss": train[-1],
        "eval_loss": min(held_out, default=None),
    }
    if not all(math.isfinite(loss) for loss in train):
        raise StageError("train: the loss became NaN or infinite; lower train.learning_rate")
    return {**found, "log": history}


def _verify(folder: Path) -> dict[str, Any]:
    """The adapter loads, is finite, and is not the untrained one (LoRA's B starts at 0)."""
    from safetensors.torch import load_file

    tensors = load_file(folder / "adapter_model.safetensors")
    if not all(tensor.isfinite().all() for tensor in tensors.values()):
        raise StageError(
            "train: the adapter holds NaN or infinite numbers; lower train.learning_rate"
        )
    moved = [name for name, tensor in tensors.items() if "lora_B" in name and tensor.any()]
    if not moved:
        raise StageError("train: the adapter is untrained (every lora_B is zero)")
    return {"trained_parameters": sum(tensor.numel() for tensor in tensors.values())}


def _tidy(folder: Path) -> None:
    """Checkpoints have served once the adapter is whole; they would triple the folder."""
    for checkpoint in folder.glob("checkpoint-*"):
        shutil.rmtree(checkpoint)
