"""Our Axolotl plugin: seeds before weights exist, marks whole checkpoints, reports progress."""

import json
import os
from pathlib import Path
from typing import Any

from axolotl.integrations.base import BasePlugin
from axolotl.utils.dict import DictDefault
from transformers import TrainerCallback, TrainerControl, TrainerState, TrainingArguments, set_seed

MARK = "@oneday "  # begins the lines on stdout that tools.axolotl reads
COMPLETE = ".complete"  # in a checkpoint folder: everything before it was written


class OnedayPlugin(BasePlugin):
    """What Axolotl leaves to chance or to the reader of its log."""

    def pre_model_load(self, cfg: DictDefault) -> None:
        """Seed before LoRA's A matrices are drawn: bare Axolotl seeds after it, so runs differ."""
        set_seed(cfg.seed)

    def add_callbacks_pre_trainer(self, cfg: DictDefault, model: Any) -> list[TrainerCallback]:
        """The callbacks of every training run; of jobs on several cards, the first alone tells."""
        return [Watch()] if os.environ.get("RANK", "0") == "0" else []


class Watch(TrainerCallback):
    """Progress lines for the parent process, and the marker that makes a checkpoint resumable."""

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

    def on_save(
        self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **_: Any
    ) -> None:
        """Mark the checkpoint, once all its files are on the disk, as whole."""
        assert args.output_dir is not None
        folder = Path(args.output_dir) / f"checkpoint-{state.global_step}"
        for path in folder.iterdir():
            _sync(path)
        (folder / COMPLETE).touch()
        _sync(folder)

    def on_train_end(
        self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **_: Any
    ) -> None:
        """Tell that all steps were made: Axolotl also exits with 0 after Ctrl+C."""
        _tell(event="end", step=state.global_step, total=state.max_steps)


def _sync(path: Path) -> None:
    handle = os.open(path, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def _tell(**fields: Any) -> None:
    print(MARK + json.dumps(fields), flush=True)
