"""A script in a trainer's place: checkpoints and events of a training whose loss is known."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

from tools.day import checkpoints, schedule
from tools.errors import StageError
from tools.run.folder import Run

PLANNED = 100  # steps of a whole training
ADAPTER = "adapter_model.safetensors"
Watch = Callable[[dict[str, Any]], None]


class Script:
    """Trains as told; each call is noted.

    Args:
        loss: eval_loss of a recipe's ``train`` section after so many steps.
    """

    def __init__(self, loss: Callable[[dict[str, Any], int], float]) -> None:
        self._loss, self.calls, self.seconds = loss, 0, 0.0

    def call(
        self, trainer: Any, run: Run, command: str, config: Path, over: Any, watch: Watch,
        variables: dict[str, str], seconds: float,
    ) -> None:  # fmt: skip
        """In place of ``tools.trainers.child.call``."""
        self.calls, self.seconds = self.calls + 1, seconds
        folder = Path(over["output_dir"])
        steps = schedule.rung_steps(schedule.Day.load(variables[schedule.VARIABLE]).rungs, PLANNED)
        there = checkpoints.found(folder)
        begun = checkpoints.number(there[0]) if there else 0
        history = checkpoints.state(there[0])["log_history"] if there else []
        watch({"event": "begin", "step": begun, "total": PLANNED})
        for rung, step in enumerate(steps):
            if step <= begun:
                continue
            loss = self._loss(run.recipe.train, step)
            if loss != loss:  # as the guard finds it
                watch({"event": "stop", "step": step, "kind": "fault", "reason": "loss became nan"})
                raise StageError("axolotl train ended with code 1")
            history.append({"step": step, "eval_loss": loss})
            watch({"event": "rung", "step": step, "rung": rung, "eval_loss": loss})
            _save(folder / f"checkpoint-{step}", step, history)
        watch({"event": "end", "step": steps[-1], "total": PLANNED})


def _save(folder: Path, step: int, history: list[dict[str, Any]]) -> None:
    folder.mkdir(parents=True)
    state = {"global_step": step, "max_steps": PLANNED, "log_history": history}
    (folder / checkpoints.STATE).write_text(json.dumps(state))
    (folder / ADAPTER).write_text(f"{step} steps")
    (folder / "adapter_config.json").write_text("{}")
    checkpoints.seal(folder)
